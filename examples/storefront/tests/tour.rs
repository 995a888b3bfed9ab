//! The tour in the README shows what is there.

use std::{fs, path::Path};

#[test]
fn each_practice_of_the_readme_is_where_it_says() {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(crate_folder.join("../../README.md")).unwrap();
    let (_, table) = readme.split_once("| practice | where |").unwrap();
    let rows: Vec<_> = table.lines().skip(2).take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() >= 10, "{rows:?}");
    for row in rows {
        let place = row.split('|').nth(2).unwrap();
        let names: Vec<_> = place.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty() && names.len() % 2 == 0, "{row}");
        for pair in names.chunks(2) {
            let text = fs::read_to_string(crate_folder.join("src").join(pair[1])).unwrap();
            let (owner, item) = pair[0].split_once("::").unwrap_or(("", pair[0]));
            let has = |what: &str| text.contains(&format!("{what} {item}"));
            assert!(has("fn") || has("struct"), "{} is not in {}", pair[0], pair[1]);
            assert!(text.contains(&format!("impl {owner}")) || owner.is_empty(), "{}", pair[0]);
        }
    }
}
