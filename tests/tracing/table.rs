//! The table in the code, and what README says of it.

use larder::__private::EVENTS;

#[test]
fn names_are_of_one_kind() {
    for event in EVENTS {
        let name = event.name;
        assert!(name.starts_with("larder."), "{name}");
        assert!(name.chars().all(|char| char.is_ascii_lowercase() || char == '.'), "{name}");
        assert!(event.target.starts_with("larder::"), "{name}");
        assert!(event.help.ends_with('.') && !event.message.ends_with('.'), "{name}");
        assert_eq!(EVENTS.iter().filter(|other| other.name == name).count(), 1, "{name}");
        let known =
            ["service", "function", "lock", "limit", "by", "connections", "openings", "unheld"];
        assert!(
            event.fields.iter().all(|field| known.contains(field)),
            "no key is a field: {name}"
        );
    }
}

#[test]
fn readme_has_every_event() {
    let rows: Vec<_> = EVENTS
        .iter()
        .map(|event| {
            let fields: Vec<_> = event.fields.iter().map(|field| format!("`{field}`")).collect();
            let (name, level, target) = (event.name, event.level, event.target);
            format!("| `{name}` | {level} | `{target}` | {} | {} |", fields.join(", "), event.help)
        })
        .collect();
    let told: Vec<_> = include_str!("../../README.md")
        .lines()
        .filter(|line| line.starts_with("| `larder.") && line.contains("| `larder::"))
        .collect();
    assert_eq!(told, rows, "README.md has to say:\n{}", rows.join("\n"));
}
