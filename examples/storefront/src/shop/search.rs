use std::{fmt::Write as _, sync::Arc};

use larder::cached;

use crate::{
    db::{Db, Result},
    shop::products::PAGE,
};

/// Finds products by what they are called.
#[derive(Debug, Clone)]
pub(crate) struct Search {
    db: Db,
}

impl Search {
    pub(super) fn new(db: &Db) -> Self {
        Self { db: db.clone() }
    }

    /// Those of a category whose names have all of the words. `None` if there are none, which is remembered for ten
    /// seconds: what nobody sells is searched for again and again, and is as much work as what is found.
    ///
    /// The words are brought into one form, so that "Lamp  red" and "red lamp" are one entry. The tag is that of the
    /// category's lists: a product that is added or renamed there drops its searches, and those of no other.
    #[cached(
        ttl = "1m",
        jitter = "10%",
        none_ttl = 10,
        key = ("search:{category}:{words}", words = normal(words)),
        tags("category:{category}"),
        skip(self)
    )]
    pub(crate) async fn find(&self, category: i64, words: &str) -> Result<Option<Arc<Vec<i64>>>> {
        let words = normal(words);
        let mut select = String::from("SELECT id FROM products WHERE category_id = $1");
        for number in 2..words.len() + 2 {
            let _ = write!(select, " AND LOWER(name) LIKE ${number} ESCAPE '!'");
        }
        let _ = write!(select, " ORDER BY name, id LIMIT {PAGE}");
        let query = sqlx::query_scalar(&select).bind(category);
        let query = words.iter().fold(query, |query, word| query.bind(pattern(word)));
        let found: Vec<i64> = query.fetch_all(self.db.read()).await?;
        Ok((!found.is_empty()).then(|| Arc::new(found)))
    }
}

/// In lower case, each once, in the order of the alphabet; eight at most.
fn normal(words: &str) -> Vec<String> {
    let words = words.to_lowercase();
    let mut words: Vec<_> = words.split_whitespace().map(str::to_owned).collect();
    words.sort();
    words.dedup();
    words.truncate(8);
    words
}

/// What has the word anywhere.
fn pattern(word: &str) -> String {
    let mut pattern = String::from("%");
    for letter in word.chars() {
        if matches!(letter, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    pattern
}
