//! The figures, as a table.

use std::{fmt::Write as _, time::Duration};

use super::{
    Options, Setup,
    drive::{Driven, Record},
    oracle::Checked,
};
use crate::config::Tiers;

/// Of one run, or the medians of several.
#[derive(Debug, Clone, Copy)]
pub(super) struct Figures {
    pub(super) p50_read: f64,
    pub(super) p99_read: f64,
    pub(super) p99_write: f64,
    pub(super) per_second: f64,
    /// Queries that read, and reached the database, for each thousand requests that read.
    pub(super) queries: f64,
    pub(super) checked: Checked,
}

impl Figures {
    pub(super) fn of(driven: &Driven, queries: u64, checked: Checked) -> Self {
        let times = |reads: bool| {
            let records = driven.measured().filter(|record| record.ask.kind.is_read() == reads);
            let mut times: Vec<_> = records.map(Record::time).collect();
            times.sort_unstable();
            times
        };
        let (reads, writes) = (times(true), times(false));
        let count = |number: usize| u32::try_from(number).map_or(f64::INFINITY, f64::from);
        let queries = u32::try_from(queries).map_or(f64::INFINITY, f64::from);
        Self {
            p50_read: millis(&reads, 50),
            p99_read: millis(&reads, 99),
            p99_write: millis(&writes, 99),
            per_second: count(reads.len() + writes.len()) / driven.time().as_secs_f64(),
            queries: queries * 1e3 / count(reads.len()),
            checked,
        }
    }

    /// Each by itself.
    pub(super) fn median(all: &[Self]) -> Self {
        let median = |figure: fn(&Self) -> f64| {
            let mut figures: Vec<_> = all.iter().map(figure).collect();
            figures.sort_by(f64::total_cmp);
            figures.get(figures.len() / 2).copied().unwrap_or_default()
        };
        let checked = all.iter().fold(Checked::default(), |sum, one| Checked {
            answers: sum.answers + one.checked.answers,
            old: sum.old + one.checked.old,
            oldest: sum.oldest.max(one.checked.oldest),
        });
        Self {
            p50_read: median(|one| one.p50_read),
            p99_read: median(|one| one.p99_read),
            p99_write: median(|one| one.p99_write),
            per_second: median(|one| one.per_second),
            queries: median(|one| one.queries),
            checked,
        }
    }
}

pub(super) fn markdown(medians: &[(Setup, Figures)], options: &Options) -> String {
    let mut out = String::new();
    let Options { products, clients, warm_up, measured, rounds, .. } = options;
    let _ = write!(
        out,
        "# The storefront with larder and without\n\n\
         By `scripts/headline`: {products} products, {clients} clients at once, {measured:?} measured after \
         {warm_up:?}, medians of {rounds} rounds in which the columns took turns. The load, the instances, PostgreSQL \
         and Redis share one machine of {} cores. In brackets: the ratio to the first column.\n\n\
         Of 1,000 requests 900 read: 560 the page of a product, which of them by Zipf's law, 130 a list, 100 a search, \
         50 the categories, 30 a profile, 20 orders, and 10 the stock, which is not cached. Of those that write 59 change a \
         profile, 25 a price, 15 are checkouts, and 1 renames a product (`load/mix.rs`). Without larder the page of a product \
         is five queries, one of them over all orders.\n\n\
         ![the figures as bars](headline.svg)\n",
        std::thread::available_parallelism().map_or(1, usize::from)
    );
    for instances in [1, 2] {
        let columns: Vec<_> =
            medians.iter().filter(|(setup, _)| setup.instances == instances).collect();
        let Some((_, base)) = columns.first() else { continue };
        let names: Vec<_> = columns.iter().map(|(setup, _)| name(setup.tiers)).collect();
        let _ = write!(
            out,
            "\n## {instances} instance{}\n\n| | {} |\n|---|{}\n",
            if instances == 1 { "" } else { "s" },
            names.join(" | "),
            "---:|".repeat(columns.len())
        );
        let mut row = |what: &str, cell: &dyn Fn(&Figures) -> String| {
            let cells: Vec<_> = columns.iter().map(|(_, figures)| cell(figures)).collect();
            let _ = writeln!(out, "| {what} | {} |", cells.join(" | "));
        };
        row("reads, p50, ms", &|one| ratio(one.p50_read, base.p50_read, 2));
        row("reads, p99, ms", &|one| ratio(one.p99_read, base.p99_read, 1));
        row("writes, p99, ms", &|one| ratio(one.p99_write, base.p99_write, 1));
        row("requests per second", &|one| ratio(one.per_second, base.per_second, 0));
        row("queries per 1,000 reads", &|one| ratio(one.queries, base.queries, 0));
        row("answers compared", &|one| one.checked.answers.to_string());
        row("of these older than what was written before", &|one| one.checked.old.to_string());
        row("the oldest by, ms", &|one| format!("{:.1}", one.checked.oldest.as_secs_f64() * 1e3));
    }
    out
}

pub(super) fn name(tiers: Tiers) -> &'static str {
    match tiers {
        Tiers::Off => "larder off",
        Tiers::Redis => "Redis",
        Tiers::Memory => "memory",
        Tiers::Both => "memory and Redis",
    }
}

fn ratio(figure: f64, base: f64, digits: usize) -> String {
    let ratio = figure / base;
    // Three digits of it, as many as are worth reading.
    let after = if ratio < 0.1 { 3 } else { usize::from(ratio < 10.0) + 1 };
    format!("{figure:.digits$} ({ratio:.after$}x)")
}

fn millis(sorted: &[Duration], share: usize) -> f64 {
    sorted.get(sorted.len() * share / 100).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}
