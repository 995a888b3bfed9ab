//! The command line.

use std::path::PathBuf;
use std::process::exit;

use crate::measure::{Kind, TABLES};

const USAGE: &str = "\
Usage: bench [MEASUREMENT]... [OPTION]...

Measurements: hit, instructions, miss, stampede, cancelled, memory, redis, invalidation, tags,
batch, limit, lock, storm; without any: all. The last seven start a `redis-server` of their own, and
what takes one is left out where there is none.

  --rounds N     rounds, of which the median is shown (5)
  --scale F      length of the rounds of all but stampede, cancelled, memory and storm (1)
  --quick        --rounds 1 --scale 0.2
  --only NAME    only contestants with NAME in their name; can be repeated
  --svg FILE     a picture of storm
";

pub struct Arguments {
    kinds: Vec<Kind>,
    only: Vec<String>,
    pub rounds: usize,
    pub scale: f64,
    pub svg: Option<PathBuf>,
}

impl Arguments {
    pub fn parse() -> Self {
        let mut parsed =
            Arguments { kinds: Vec::new(), only: Vec::new(), rounds: 5, scale: 1.0, svg: None };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().unwrap_or_else(|| usage(&argument));
            match &*argument {
                "--rounds" => parsed.rounds = number(&value()),
                "--scale" => parsed.scale = number(&value()),
                "--quick" => (parsed.rounds, parsed.scale) = (1, 0.2),
                "--svg" => parsed.svg = Some(value().into()),
                "--only" => parsed.only.push(value()),
                "--help" | "-h" => {
                    print!("{USAGE}");
                    exit(0);
                }
                name => match TABLES.iter().find(|table| table.kind.name() == name) {
                    Some(table) => parsed.kinds.push(table.kind),
                    None => usage(name),
                },
            }
        }
        if parsed.rounds == 0 || !(0.01..=100.0).contains(&parsed.scale) {
            usage("rounds or scale out of range");
        }
        parsed
    }

    pub fn wants(&self, kind: Kind) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }

    pub fn wants_contestant(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part))
    }
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| usage(text))
}

fn usage(problem: &str) -> ! {
    eprint!("{problem}?\n\n{USAGE}");
    exit(2);
}
