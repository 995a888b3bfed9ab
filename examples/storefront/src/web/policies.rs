//! What is cached how, and why, as the page says it.

pub(super) struct Line {
    pub(super) name: &'static str,
    /// As the cache counts it; nothing for what is not cached.
    pub(super) function: Option<&'static str>,
    pub(super) how: &'static str,
    pub(super) why: &'static str,
}

/// A test looks whether the cache knows each of the functions.
pub(super) const POLICIES: [Line; 12] = [
    Line {
        name: "categories",
        function: Some("Categories::all"),
        how: "1 h, then stale for a day, for a week if the database is down",
        why: "Reference data: on every page, changed by a release.",
    },
    Line {
        name: "products, one",
        function: Some("Products::find"),
        how: "10 min; a None for 10 s; invalidated by call",
        why: "Read a thousand times for each change.",
    },
    Line {
        name: "products, many",
        function: Some("Products::find_all"),
        how: "the same entries, by each",
        why: "A list asks once for what is missing of it.",
    },
    Line {
        name: "bought with it",
        function: Some("Products::bought_with"),
        how: "10 min, refreshed early, then stale for an hour",
        why: "A heavy query over all orders; nobody minds its age.",
    },
    Line {
        name: "pages of a category",
        function: Some("Products::page"),
        how: "5 min; tag of the category",
        why: "Ids alone, so that a changed product changes no list.",
    },
    Line {
        name: "search",
        function: Some("Search::find"),
        how: "1 min; nothing found: 10 s; tag of the category",
        why: "What nobody sells is searched for again and again.",
    },
    Line {
        name: "prices, one",
        function: Some("Prices::find"),
        how: "5 min; invalidated by call, under a hold",
        why: "As shown. What is paid is read in the transaction.",
    },
    Line {
        name: "prices, many",
        function: Some("Prices::find_all"),
        how: "the same entries, by each",
        why: "As above.",
    },
    Line {
        name: "profiles",
        function: Some("Customers::find"),
        how: "30 s; a None for 5 s; invalidated by call",
        why: "Many, and each is read while its customer is here.",
    },
    Line {
        name: "orders of a customer",
        function: Some("Orders::latest"),
        how: "1 min; invalidated by a checkout",
        why: "Ids alone, as above.",
    },
    Line {
        name: "orders, many",
        function: Some("Orders::find_all"),
        how: "1 h, by each",
        why: "They never change.",
    },
    Line {
        name: "stock",
        function: None,
        how: "not cached",
        why: "A number that is a second old sells what is not there, and each sale would invalidate it. \
              One look-up by the primary key, asked for by who is about to buy.",
    },
];
