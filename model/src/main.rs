//! Explores all configurations, and shows that each rule is needed.
//!
//!   larder-model [--large]
//!   larder-model --trace RULE

use std::{
    io::{self, Write, stdout},
    process::ExitCode,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    thread,
    time::Instant,
};

use larder_model::{
    broken::{CASES, Case},
    configurations::{Configuration, LARGE, SMALL, pairs},
    explorer::{End, Explored, Trace, explore},
    lock,
    protocol::{Protocol, Rule},
};

/// States of a small configuration: none may be cut.
const MOST: usize = 20_000_000;
/// States of a large one: two of these take 5 GB.
const MOST_OF_LARGE: usize = 12_000_000;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let (list, locks, most) = match arguments[..] {
        [] => (SMALL.to_vec(), lock::SMALL, MOST),
        ["--large"] => ([LARGE, &pairs()].concat(), lock::LARGE, MOST_OF_LARGE),
        ["--trace", rule] => return trace(rule),
        _ => {
            eprintln!("usage: scripts/model [--large | --trace RULE]");
            return ExitCode::from(2);
        }
    };
    let Outcome { cut, wrong } = explore_all(&list, most);
    let are_sound = wrong == 0 && (cut == 0 || most == MOST_OF_LARGE);
    // All of them are shown, also after one that is not.
    let are_caught = CASES.iter().filter(|case| !is_caught(case)).count() == 0;
    let are_locks_sound = explore_locks(locks);
    if are_sound && are_caught && are_locks_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// How many configurations were not explored to a good end.
struct Outcome {
    cut: usize,
    wrong: usize,
}

/// Two at a time, which is what there is memory for.
fn explore_all(list: &[Configuration], most: usize) -> Outcome {
    let next = AtomicUsize::new(0);
    let (states, cut, wrong) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        while let Some(configuration) = list.get(next.fetch_add(1, SeqCst)) {
            let explored = explored(*configuration, most);
            states.fetch_add(explored.states, SeqCst);
            cut.fetch_add(usize::from(matches!(explored.end, End::Cut)), SeqCst);
            wrong.fetch_add(usize::from(matches!(explored.end, End::Wrong(..))), SeqCst);
        }
    };
    thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    let (states, cut, wrong) = (states.into_inner(), cut.into_inner(), wrong.into_inner());
    println!("{} configurations, {states} states, {cut} cut, {wrong} wrong", list.len());
    Outcome { cut, wrong }
}

/// Explores one, and says what came of it.
fn explored(configuration: Configuration, most: usize) -> Explored<Rule> {
    let since = Instant::now();
    let explored = explore(&Protocol { configuration, broken: None }, most);
    let mut out = stdout().lock();
    let (Explored { states, depth, end }, name) = (&explored, configuration.name);
    let seconds = since.elapsed().as_secs_f32();
    let how = match end {
        End::All => "all".to_owned(),
        End::Cut => format!("CUT at {most} states"),
        End::Wrong(wrong, _) => wrong.to_string(),
    };
    // What cannot be written is of no use to anybody.
    let _ = writeln!(out, "{name:<64} {states:>9} states {depth:>3} deep {seconds:>6.2} s  {how}");
    if let End::Wrong(_, trace) = end {
        let _ = write_trace(&mut out, trace);
    }
    explored
}

fn is_caught(case: &Case) -> bool {
    let Case { broken, wrong: expected, shown_by } = case;
    let rule = format!("{broken:?}");
    match case.explore().end {
        End::Wrong(wrong, trace) if wrong == *expected => {
            println!("{rule:<24} caught: {wrong} after {} steps, {shown_by}", trace.len());
            true
        }
        other => {
            println!("{rule:<24} NOT CAUGHT: not {expected} but {other:?}, {shown_by}");
            false
        }
    }
}

/// Whether nothing is wrong with locks, and what each of their rules is for is missed without it.
fn explore_locks(list: &[lock::Configuration]) -> bool {
    let mut are_sound = true;
    for configuration in list {
        let since = Instant::now();
        let explored = lock::explore(configuration, None);
        let (name, seconds) = (configuration.name, since.elapsed().as_secs_f32());
        are_sound &= explored.is_ok();
        match explored {
            Ok(states) => println!("{name:<64} {states:>9} states {seconds:>15.2} s  all"),
            Err(wrong) => println!("{name:<64} {wrong}"),
        }
    }
    for broken in lock::CASES {
        let explored = lock::explore(&lock::SMALL[0], Some(broken));
        are_sound &= explored.is_err();
        let how = if explored.is_err() { "caught" } else { "NOT CAUGHT" };
        println!("{:<24} {how}", format!("{broken:?}"));
    }
    are_sound
}

/// Shows what goes wrong if a rule is not kept.
fn trace(rule: &str) -> ExitCode {
    let Some(case) = CASES.iter().find(|case| format!("{:?}", case.broken) == rule) else {
        let rules: Vec<_> = CASES.iter().map(|case| format!("{:?}", case.broken)).collect();
        eprintln!("no such rule; there are {}", rules.join(", "));
        return ExitCode::from(2);
    };
    if let End::Wrong(wrong, trace) = case.explore().end {
        println!("{}: {wrong}", case.shown_by);
        let _ = write_trace(&mut stdout(), &trace);
    }
    ExitCode::SUCCESS
}

fn write_trace(out: &mut impl Write, trace: &Trace) -> io::Result<()> {
    for (step, state) in trace {
        writeln!(out, "    {step:<48} {state}")?;
    }
    Ok(())
}
