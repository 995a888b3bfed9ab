//! K1 to K7 of DESIGN.md, from outside: what a key tells apart, by its text and by the values that
//! are served. What must not compile (K3, K6, a template without a literal segment) is in
//! `tests/ui`.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    convert::Infallible,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    num::{NonZeroI8, NonZeroU64, NonZeroU128},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use larder::{Cache, KeyPart, KeyWriter, Options, cached};
use proptest::{collection::vec, option, prelude, prelude::*, sample::select};

// The functions under test. A body gives back what it was called with, so that a value that is
// served to the wrong call shows.

#[cached(ttl = 60, key = "pair:{a}:{b}")]
async fn pair(a: &str, b: &str) -> (String, String) {
    (a.to_owned(), b.to_owned())
}

#[cached(ttl = 60, key = "adjacent:{a}{b}")]
async fn adjacent(a: &str, b: &str) -> (String, String) {
    (a.to_owned(), b.to_owned())
}

#[cached(ttl = 60, key = "dash:{a}-{b}")]
async fn dash(a: &str, b: &str) -> (String, String) {
    (a.to_owned(), b.to_owned())
}

#[cached(ttl = 60, key = "framed:{a}-:-{b}-")]
async fn framed(a: &str, b: &str) -> (String, String) {
    (a.to_owned(), b.to_owned())
}

#[cached(ttl = 60)]
async fn hashed_pair(a: &str, b: &str) -> (String, String) {
    (a.to_owned(), b.to_owned())
}

#[cached(ttl = 60, key = "one:{T}:{value}")]
async fn one<T: KeyPart + fmt::Debug>(value: &T) -> String {
    format!("{value:?}")
}

#[cached(ttl = 60, key = "beside:{T}:{left}{right}")]
async fn beside<T: KeyPart>(left: &T, right: &T) -> () {}

#[cached(ttl = 60)]
async fn hashed<T: KeyPart + fmt::Debug>(value: &T) -> String {
    format!("{value:?}")
}

#[cached(ttl = 60, key = "any:{value}")]
async fn any(value: impl KeyPart) -> () {}

/// What any key is, whatever the arguments were.
fn assert_sound(key: &str) {
    assert!(key.len() <= 200, "{} bytes: {key}", key.len());
    assert!(!key.contains(['{', '}']), "{key}");
    assert!(!key.contains(char::is_control), "{key:?}");
}

/// Keys are equal exactly where values are: of one value, of two side by side, and hashed.
fn assert_told_apart<T: KeyPart + PartialEq + fmt::Debug>(values: &[T]) {
    let shown: Vec<_> = values.iter().map(|value| format!("{value:?}")).collect();
    let equal = |left: usize, right: usize| values[left] == values[right];
    let keys = |key: fn(&T) -> String| values.iter().map(key).collect::<Vec<_>>();
    assert_equal_where(&equal, &keys(|value| one(value).key()), &shown);
    assert_equal_where(&equal, &keys(|value| hashed(value).key()), &shown);
    let few = values.len().min(6);
    let key = |pair: usize| beside(&values[pair / few], &values[pair % few]).key();
    let keys: Vec<_> = (0..few * few).map(key).collect();
    let equal = |left: usize, right: usize| {
        equal(left / few, right / few) && equal(left % few, right % few)
    };
    assert_equal_where(&equal, &keys, &keys);
}

fn assert_equal_where(equal: &dyn Fn(usize, usize) -> bool, keys: &[String], shown: &[String]) {
    for (left, of_left) in keys.iter().enumerate() {
        assert_sound(of_left);
        for (right, of_right) in keys.iter().enumerate() {
            let [shown_left, shown_right] = [&shown[left], &shown[right]];
            let same = of_left == of_right;
            assert_eq!(equal(left, right), same, "{shown_left} and {shown_right}: {of_left}");
        }
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// Strings of what keys are built with, so short that two of them are often nearly equal.
fn hostile() -> BoxedStrategy<String> {
    let pieces = select(vec![
        ":",
        "%",
        "{",
        "}",
        "{}",
        "(",
        ")",
        "[",
        "]",
        ",",
        "'",
        "~",
        "-",
        "_",
        "#",
        "+",
        "%_",
        "%-",
        "%+",
        "%#",
        "%3A",
        "%25",
        "~(",
        "),(",
        "\0",
        "\n",
        "\t",
        "\u{7f}",
        "\u{85}",
        "\u{2028}",
        " ",
        "é",
        "日",
        "\u{1f980}",
        "1",
        "2",
        "a",
        "None",
        "Some",
        "true",
        "5",
    ]);
    prop_oneof![
        12 => vec(pieces.clone(), 0..4).prop_map(|pieces| pieces.concat()),
        1 => prelude::any::<String>(),
        1 => (pieces, 180usize..230).prop_map(|(piece, times)| piece.repeat(times)),
        1 => ("[ab:]{0,2}", 195usize..205).prop_map(|(end, times)| "a".repeat(times) + &end),
    ]
    .boxed()
}

fn several<T: fmt::Debug>(values: impl Strategy<Value = T> + 'static) -> BoxedStrategy<Vec<T>> {
    vec(values, 2..20).boxed()
}

/// An enum and structs as users derive them.
#[derive(Debug, Clone, PartialEq, KeyPart)]
enum Derived {
    Unit,
    None,
    Newtype(String),
    Optional(Option<String>),
    Tuple(String, String),
    Named { left: String, right: Vec<String> },
    Nested(Box<Derived>),
    Struct(Fields<Option<String>>),
    Transparent(Wrapped),
}

#[derive(Debug, Clone, PartialEq, KeyPart)]
struct Fields<T> {
    name: String,
    value: T,
}

#[derive(Debug, Clone, PartialEq, KeyPart)]
struct Wrapped(Option<String>);

fn derived() -> BoxedStrategy<Derived> {
    let leaf = prop_oneof![
        Just(Derived::Unit),
        Just(Derived::None),
        hostile().prop_map(Derived::Newtype),
        option::of(hostile()).prop_map(Derived::Optional),
        (hostile(), hostile()).prop_map(|(left, right)| Derived::Tuple(left, right)),
        (hostile(), vec(hostile(), 0..3)).prop_map(|(left, right)| Derived::Named { left, right }),
        (hostile(), option::of(hostile()))
            .prop_map(|(name, value)| Derived::Struct(Fields { name, value })),
        option::of(hostile()).prop_map(|inside| Derived::Transparent(Wrapped(inside))),
    ];
    leaf.prop_recursive(3, 6, 1, |inside| {
        inside.prop_map(|inside| Derived::Nested(Box::new(inside)))
    })
    .boxed()
}

/// Written by hand and without a tag: parts of any type, as many as there are.
#[derive(Debug, Clone, PartialEq)]
enum Untagged {
    Number(i64),
    Truth(bool),
    Text(String),
    Maybe(Option<u64>),
    MaybeText(Option<String>),
    Numbers(Vec<u64>),
    Texts(Vec<String>),
    OfNumber((u64,)),
    OfText((String,)),
    Address(Ipv4Addr),
    Two(u64, u64),
    Several(Vec<Untagged>),
}

impl KeyPart for Untagged {
    fn write(&self, out: &mut KeyWriter<'_>) {
        match self {
            Self::Number(part) => out.part(part),
            Self::Truth(part) => out.part(part),
            Self::Text(part) => out.part(part),
            Self::Maybe(part) => out.part(part),
            Self::MaybeText(part) => out.part(part),
            Self::Numbers(part) => out.part(part),
            Self::Texts(part) => out.part(part),
            Self::OfNumber(part) => out.part(part),
            Self::OfText(part) => out.part(part),
            Self::Address(part) => out.part(part),
            Self::Two(one, two) => {
                out.part(one);
                out.part(two);
            }
            Self::Several(parts) => parts.iter().for_each(|part| out.part(part)),
        }
    }
}

// Two variants that write the very same parts are the same key, as they should be; so none of
// these writes what another one does.
fn untagged() -> BoxedStrategy<Untagged> {
    let leaf = prop_oneof![
        (-3i64..12).prop_map(Untagged::Number),
        prelude::any::<bool>().prop_map(Untagged::Truth),
        hostile().prop_map(Untagged::Text),
        option::of(0u64..12).prop_map(Untagged::Maybe),
        hostile().prop_map(|text| Untagged::MaybeText(Some(text))),
        vec(0u64..12, 0..3).prop_map(Untagged::Numbers),
        vec(hostile(), 1..3).prop_map(Untagged::Texts),
        (0u64..12).prop_map(|number| Untagged::OfNumber((number,))),
        (0u64..3, 0u64..3).prop_map(|(one, two)| Untagged::Two(one, two)),
        hostile().prop_map(|text| Untagged::OfText((text,))),
        select(vec![Ipv4Addr::LOCALHOST, Ipv4Addr::UNSPECIFIED]).prop_map(Untagged::Address),
    ];
    leaf.prop_recursive(3, 12, 3, |inside| vec(inside, 0..4).prop_map(Untagged::Several)).boxed()
}

/// As many numbers as there are, and then a text.
#[derive(Debug, Clone, PartialEq)]
struct Path {
    numbers: Vec<u64>,
    text: Option<String>,
}

impl KeyPart for Path {
    fn write(&self, out: &mut KeyWriter<'_>) {
        self.numbers.iter().for_each(|number| out.part(number));
        if let Some(text) = &self.text {
            out.part(text);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arguments_that_differ_never_share_a_key(values in several((hostile(), hostile()))) {
        let keys = values.iter().map(|(a, b)| {
            [
                pair(a, b).key(),
                adjacent(a, b).key(),
                dash(a, b).key(),
                framed(a, b).key(),
                hashed_pair(a, b).key(),
            ]
        });
        let keys: Vec<_> = keys.collect();
        for (left, of_left) in values.iter().zip(&keys) {
            for key in of_left {
                assert_sound(key);
            }
            for (right, of_right) in values.iter().zip(&keys) {
                for (of_left, of_right) in of_left.iter().zip(of_right) {
                    prop_assert_eq!(left == right, of_left == of_right, "{:?}, {:?}", of_left, of_right);
                }
            }
        }
    }

    #[test]
    fn strings_that_differ_never_share_a_key(values in several(hostile())) {
        assert_told_apart(&values);
    }

    #[test]
    fn options_that_differ_never_share_a_key(values in several(option::of(hostile()))) {
        assert_told_apart(&values);
    }

    #[test]
    fn nested_options_that_differ_never_share_a_key(
        values in several(option::of(option::of(option::of(hostile())))),
    ) {
        assert_told_apart(&values);
    }

    #[test]
    fn lists_that_differ_never_share_a_key(values in several(vec(hostile(), 0..4))) {
        assert_told_apart(&values);
        assert_told_apart(&values.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let arrays: Vec<[String; 2]> = values.iter().filter_map(|list| list.clone().try_into().ok()).collect();
        assert_told_apart(&arrays);
        assert_told_apart(&values.into_iter().map(BTreeSet::from_iter).collect::<Vec<_>>());
    }

    #[test]
    fn lists_of_lists_that_differ_never_share_a_key(
        values in several(vec(vec(option::of(hostile()), 0..3), 0..3)),
    ) {
        assert_told_apart(&values);
    }

    #[test]
    fn maps_that_differ_never_share_a_key(
        values in several(vec((hostile(), option::of(hostile())), 0..3)),
    ) {
        assert_told_apart(&values.into_iter().map(BTreeMap::from_iter).collect::<Vec<_>>());
    }

    #[test]
    fn tuples_that_differ_never_share_a_key(
        values in several((hostile(), (hostile(), option::of(hostile())), -2i8..2, vec(hostile(), 0..2))),
    ) {
        assert_told_apart(&values);
    }

    #[test]
    fn derived_parts_that_differ_never_share_a_key(values in several(derived())) {
        assert_told_apart(&values);
        assert_told_apart(&values.iter().cloned().map(Some).collect::<Vec<_>>());
    }

    #[test]
    fn parts_written_by_hand_never_share_a_key_if_they_write_other_parts(values in several(untagged())) {
        assert_told_apart(&values);
        // `Some` and what is in it have to stay apart from `None`, whatever that writes.
        let options = values.iter().cloned().map(Some).chain([None]);
        assert_told_apart(&options.clone().collect::<Vec<_>>());
        assert_told_apart(&options.map(Some).chain([None]).collect::<Vec<_>>());
        assert_told_apart(&values.chunks(2).collect::<Vec<_>>());
        assert_told_apart(&values.iter().map(|value| (value, 5u8)).collect::<Vec<_>>());
    }

    #[test]
    fn a_varying_number_of_parts_never_runs_into_what_follows(
        values in several((vec(0u64..3, 0..3), option::of(hostile()), vec(0u64..3, 0..3))),
    ) {
        let values = values.into_iter().map(|(numbers, text, rest)| {
            (Path { numbers, text }, Path { numbers: rest, text: None })
        });
        assert_told_apart(&values.collect::<Vec<_>>());
    }

    #[test]
    fn integers_that_differ_never_share_a_key(
        values in several(prelude::any::<i128>()),
        wide in several(prelude::any::<u128>()),
    ) {
        assert_told_apart(&values);
        assert_told_apart(&wide);
        assert_told_apart(&wide.iter().map(|value| *value as i64).collect::<Vec<_>>());
        assert_told_apart(&wide.iter().map(|value| *value as i8).collect::<Vec<_>>());
        assert_told_apart(&wide.into_iter().filter_map(NonZeroU128::new).collect::<Vec<_>>());
    }

    #[test]
    fn addresses_that_differ_never_share_a_key(
        values in several((
            select(vec![
                IpAddr::V4(Ipv4Addr::LOCALHOST),
                IpAddr::V6(Ipv6Addr::LOCALHOST),
                IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped()),
                IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_compatible()),
                IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            ]),
            0u16..2,
            0u32..2,
            0u32..2,
        )),
    ) {
        assert_told_apart(&values.iter().map(|(ip, ..)| *ip).collect::<Vec<_>>());
        let sockets = values.into_iter().map(|(ip, port, flow, scope)| match ip {
            IpAddr::V4(ip) => SocketAddr::V4(SocketAddrV4::new(ip, port)),
            IpAddr::V6(ip) => SocketAddr::V6(SocketAddrV6::new(ip, port, flow, scope)),
        });
        assert_told_apart(&sockets.collect::<Vec<_>>());
    }

    #[test]
    fn chars_that_differ_never_share_a_key(values in several(prelude::any::<char>())) {
        assert_told_apart(&values);
        assert_told_apart(&[':', '%', '{', '}', '(', ')', '[', ']', ',', '\'', '~', '\0', '_', '-']);
    }

    #[test]
    fn a_value_is_served_to_its_own_arguments_alone(values in several((hostile(), hostile()))) {
        block_on(Cache::memory().scope(async {
            // Once to store them all, once to read them.
            for (a, b) in values.iter().chain(&values) {
                let given = (a.clone(), b.clone());
                prop_assert_eq!(&pair(a, b).await, &given);
                prop_assert_eq!(&adjacent(a, b).await, &given);
                prop_assert_eq!(&dash(a, b).await, &given);
                prop_assert_eq!(&framed(a, b).await, &given);
                prop_assert_eq!(&hashed_pair(a, b).await, &given);
            }
            Ok(())
        }))?;
    }
}

/// Every string of up to two of these characters: what a template is built with, and some more.
fn short_strings() -> Vec<String> {
    let chars = [':', '%', '-', '_', '(', ')', '\'', '1'];
    let ones = chars.iter().map(char::to_string);
    let twos = chars.iter().flat_map(|a| chars.iter().map(move |b| format!("{a}{b}")));
    std::iter::once(String::new()).chain(ones).chain(twos).collect()
}

#[test]
fn no_two_pairs_of_short_strings_share_a_key() {
    let strings = short_strings();
    let mut keys = HashSet::new();
    for a in &strings {
        for b in &strings {
            assert!(keys.insert(pair(a, b).key()), "{a:?}, {b:?}");
            assert!(keys.insert(adjacent(a, b).key()), "{a:?}, {b:?}");
            assert!(keys.insert(dash(a, b).key()), "{a:?}, {b:?}");
            assert!(keys.insert(framed(a, b).key()), "{a:?}, {b:?}");
        }
    }
}

#[test]
fn a_colon_in_an_argument_is_not_one_of_the_template() {
    assert_ne!(pair("1:2", "3").key(), pair("1", "2:3").key());
    assert_eq!(pair("1:2", "3").key(), "pair:1%3A2:3");
    assert_ne!(pair("1%3A2", "3").key(), pair("1:2", "3").key());
}

#[test]
fn none_is_neither_empty_nor_some() {
    let [none, empty, some] = [None, Some(String::new()), Some("x".to_owned())];
    assert_told_apart(&[none.clone(), empty.clone(), some.clone(), Some("%-".to_owned())]);
    assert_told_apart(&[None, Some(none), Some(empty), Some(some)]);
    let key = |nick: Option<&str>| {
        #[cached(ttl = 60, key = "nick:{nick}")]
        async fn by_nick(nick: Option<&str>) -> () {}
        by_nick(nick).key()
    };
    assert_eq!(key(None), "nick:%-");
    assert_eq!(key(Some("")), "nick:%_");
    assert_eq!(key(Some("x")), "nick:x");
}

/// What a careless text would have alike.
fn look_alikes() -> Vec<Untagged> {
    use Untagged::*;

    let text = |text: &str| text.to_owned();
    vec![
        Number(5),
        Text(text("5")),
        Text(text("'5")),
        Text(text("~(5)")),
        Maybe(Some(5)),
        Maybe(None),
        MaybeText(Some(text("5"))),
        Text(text("None")),
        Numbers(vec![5]),
        Texts(vec![text("5")]),
        Texts(vec![text("5,5")]),
        Texts(vec![text("5"), text("5")]),
        OfNumber((5,)),
        OfText((text("5"),)),
        Truth(true),
        Text(text("true")),
        Address(Ipv4Addr::LOCALHOST),
        Text(text("127.0.0.1")),
        Several(vec![]),
        Several(vec![Several(vec![])]),
        Several(vec![Number(5)]),
        Two(5, 6),
        Several(vec![Two(5, 6)]),
        Several(vec![Number(5), Number(6)]),
        Several(vec![Several(vec![Number(5), Number(6)])]),
        Several(vec![Several(vec![Number(5)]), Number(6)]),
        Several(vec![Several(vec![Several(vec![Number(5)])]), Number(6)]),
    ]
}

#[test]
fn parts_written_by_hand_that_look_alike_stay_apart() {
    assert_told_apart(&look_alikes());
    let options: Vec<_> = look_alikes().into_iter().map(Some).chain([None]).collect();
    assert_told_apart(&options);
}

#[test]
fn callers_of_other_arguments_never_wait_for_one_run() {
    // What is under way goes by the text of the key, what is stored by its bytes.
    #[cached(ttl = 60, key = "slow:{value}")]
    async fn slow(value: Option<Untagged>) -> String {
        tokio::task::yield_now().await;
        format!("{value:?}")
    }

    let values: Vec<_> = look_alikes().into_iter().map(Some).chain([None]).collect();
    block_on(Cache::memory().scope(async {
        let calls: Vec<_> = values.iter().map(|value| tokio::spawn(slow(value.clone()))).collect();
        for (value, call) in values.iter().zip(calls) {
            assert_eq!(call.await.unwrap(), format!("{value:?}"));
        }
    }));
}

#[test]
fn an_argument_of_any_type_counts_with_its_type() {
    let keys = [
        any(5u8).key(),
        any(5u64).key(),
        any("5").key(),
        any("5".to_owned()).key(),
        any('5').key(),
        any(Some(5u8)).key(),
        any(Duration::from_nanos(5)).key(),
    ];
    assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len(), "{keys:?}");
    for key in &keys {
        assert_sound(key);
    }
}

#[test]
fn the_types_of_several_arguments_do_not_run_into_each_other() {
    // The text of the value, then the name of the type, which the template does not ask for: a
    // text that ends as the name of a type begins must not be taken for a part of it.
    trait Named {
        fn name(&self) -> String;
    }
    impl Named for &u8 {
        fn name(&self) -> String {
            "x".to_owned()
        }
    }
    impl Named for u8 {
        fn name(&self) -> String {
            "x&".to_owned()
        }
    }
    #[cached(ttl = 60, key = ("named:{name}", name = value.name()))]
    async fn named(value: impl Named) -> () {}

    assert_ne!(named(&1u8).key(), named(1u8).key());
}

#[test]
fn one_number_is_one_key_whatever_its_width() {
    #[cached(ttl = 60, key = "width:{id}")]
    async fn narrow(id: u8) -> String {
        format!("number {id}")
    }
    #[cached(ttl = 60, key = "width:{id}")]
    async fn wide(id: i128) -> String {
        format!("not run for {id}")
    }
    #[cached(ttl = 60, key = "width:{id}")]
    async fn not_zero(id: NonZeroU64) -> String {
        format!("not run for {id}")
    }

    block_on(Cache::memory().scope(async {
        assert_eq!(narrow(5).await, "number 5");
        assert_eq!(wide(5).await, "number 5");
        assert_eq!(not_zero(NonZeroU64::new(5).unwrap()).await, "number 5");
    }));
}

#[test]
fn the_ends_of_the_integers_stay_apart() {
    let ends = [
        i128::MIN,
        i128::from(i64::MIN) - 1,
        i128::from(i64::MIN),
        i128::from(i32::MIN),
        -1,
        0,
        1,
        i128::from(i64::MAX),
        i128::from(i64::MAX) + 1,
        i128::from(u64::MAX),
        i128::from(u64::MAX) + 1,
        i128::MAX,
    ];
    assert_told_apart(&ends);
    for end in ends {
        assert_eq!(one(&end).key(), format!("one:i128:{end}"));
    }
    assert_told_apart(&[0, 1, u128::from(u64::MAX), u128::from(u64::MAX) + 1, u128::MAX]);
    assert_told_apart(&[i8::MIN, -1, 0, i8::MAX]);
    assert_told_apart(&[NonZeroI8::MIN, NonZeroI8::new(-1).unwrap(), NonZeroI8::MAX]);
    assert_told_apart(&[isize::MIN, 0, isize::MAX]);
    assert_told_apart(&[usize::MIN, usize::MAX]);
}

#[test]
fn small_types_are_told_apart() {
    assert_told_apart(&[true, false]);
    assert_told_apart(&[(), ()]);
    assert_told_apart(&[
        Duration::ZERO,
        Duration::from_nanos(1),
        Duration::from_secs(1),
        Duration::from_nanos(1_000_000_001),
        Duration::MAX,
    ]);
    assert_told_apart(&[Cow::Borrowed("a"), Cow::Owned("a".to_owned()), Cow::Borrowed("")]);
    assert_told_apart(&[Arc::<str>::from("a"), Arc::from("b")]);
    assert_told_apart(&[(1, 2, 3, 4, 5, 6, 7, 8), (1, 2, 3, 4, 5, 6, 8, 7)]);
}

#[test]
fn what_points_to_a_value_is_the_value() {
    // All of these may be an argument of functions that share a template.
    fn key(part: &impl KeyPart) -> String {
        #[cached(ttl = 60, key = "pointer:{part}", skip(T))]
        async fn of<T: KeyPart>(part: &T) -> () {}
        of(part).key()
    }
    let text = "a:b".to_owned();
    assert_eq!(key(&text), "pointer:a%3Ab");
    assert_eq!(key(&text), key(&"a:b"));
    assert_eq!(key(&text), key(&Cow::Borrowed("a:b")));
    assert_eq!(key(&text), key(&Box::new("a:b")));
    assert_eq!(key(&text), key(&Rc::new(text.clone())));
    assert_eq!(key(&text), key(&Arc::<str>::from("a:b")));
    assert_eq!(key(&text), key(&Some(Arc::<str>::from("a:b"))));
    assert_eq!(key(&[1, 2]), key(&vec![1, 2]));
    assert_eq!(key(&[1, 2].as_slice()), key(&BTreeSet::from([1, 2])));
}

#[test]
fn a_redacted_debug_plays_no_part() {
    #[derive(PartialEq, KeyPart)]
    struct Secret(String);
    impl fmt::Debug for Secret {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Secret(***)")
        }
    }
    assert_told_apart(&[Secret("a".to_owned()), Secret("b".to_owned())]);
}

mod first {
    #[larder::cached(ttl = 60)]
    pub(crate) async fn name(id: u64) -> String {
        format!("first {id}")
    }
}

mod second {
    #[larder::cached(ttl = 60)]
    pub(crate) async fn name(id: u64) -> String {
        format!("second {id}")
    }
}

struct Cats;
struct Dogs;

impl Cats {
    #[cached(ttl = 60)]
    async fn name(id: u64) -> String {
        format!("cat {id}")
    }
}

impl Dogs {
    #[cached(ttl = 60)]
    async fn name(id: u64) -> String {
        format!("dog {id}")
    }
}

trait Plural {
    fn plural(&self, id: u64) -> impl Future<Output = String>;
}

impl Plural for Cats {
    #[cached(ttl = 60, skip(self))]
    async fn plural(&self, id: u64) -> String {
        format!("cats {id}")
    }
}

impl Plural for Dogs {
    #[cached(ttl = 60, skip(self))]
    async fn plural(&self, id: u64) -> String {
        format!("dogs {id}")
    }
}

/// A second trait with a method of that name.
trait Many {
    fn plural(&self, id: u64) -> impl Future<Output = String>;
}

impl Many for Cats {
    #[cached(ttl = 60, skip(self))]
    async fn plural(&self, id: u64) -> String {
        format!("many cats {id}")
    }
}

#[async_trait::async_trait]
trait Boxed {
    async fn boxed(&self, id: u64) -> String;
}

#[async_trait::async_trait]
impl Boxed for Cats {
    #[cached(ttl = 60, skip(self))]
    async fn boxed(&self, id: u64) -> String {
        format!("boxed cat {id}")
    }
}

#[async_trait::async_trait]
impl Boxed for Dogs {
    #[cached(ttl = 60, skip(self))]
    async fn boxed(&self, id: u64) -> String {
        format!("boxed dog {id}")
    }
}

/// A generic type: its parameters are invisible to the attribute.
struct Repo<T, const N: usize>(std::marker::PhantomData<T>);

impl<T, const N: usize> Repo<T, N> {
    #[cached(ttl = 60)]
    async fn name(id: u64) -> String {
        format!("{} {N} {id}", std::any::type_name::<T>())
    }

    #[cached(ttl = 60, key = "repo:{Self}:{id}")]
    async fn by_template(id: u64) -> String {
        format!("{} {N} {id}", std::any::type_name::<T>())
    }
}

#[cached(ttl = 60)]
async fn generic<T>(id: u64) -> String {
    format!("{} {id}", std::any::type_name::<T>())
}

#[test]
fn functions_of_one_name_never_share_an_entry() {
    block_on(Cache::memory().scope(async {
        for _ in 0..2 {
            assert_eq!(first::name(1).await, "first 1");
            assert_eq!(second::name(1).await, "second 1");
            assert_eq!(Cats::name(1).await, "cat 1");
            assert_eq!(Dogs::name(1).await, "dog 1");
        }
    }));
    let keys =
        [first::name(1).key(), second::name(1).key(), Cats::name(1).key(), Dogs::name(1).key()];
    assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len(), "{keys:?}");
    for key in &keys {
        assert_sound(key);
    }
}

#[test]
fn impls_of_one_trait_never_share_an_entry() {
    block_on(Cache::memory().scope(async {
        for _ in 0..2 {
            assert_eq!(Plural::plural(&Cats, 1).await, "cats 1");
            assert_eq!(Plural::plural(&Dogs, 1).await, "dogs 1");
            assert_eq!(Many::plural(&Cats, 1).await, "many cats 1");
            assert_eq!(Cats.boxed(1).await, "boxed cat 1");
            assert_eq!(Dogs.boxed(1).await, "boxed dog 1");
        }
    }));
}

#[test]
fn instances_of_a_generic_function_never_share_an_entry() {
    block_on(Cache::memory().scope(async {
        for _ in 0..2 {
            assert_eq!(generic::<u8>(1).await, "u8 1");
            assert_eq!(generic::<u16>(1).await, "u16 1");
            assert_eq!(Repo::<u8, 1>::name(1).await, "u8 1 1");
            assert_eq!(Repo::<u16, 1>::name(1).await, "u16 1 1");
            assert_eq!(Repo::<u8, 2>::name(1).await, "u8 2 1");
            assert_eq!(Repo::<u8, 1>::by_template(1).await, "u8 1 1");
            assert_eq!(Repo::<u8, 2>::by_template(1).await, "u8 2 1");
        }
    }));
}

#[test]
fn functions_of_sibling_blocks_never_share_an_entry() {
    // One path for both: `…::functions_of_sibling_blocks_never_share_an_entry::name`.
    async fn left(id: u64) -> (String, String) {
        #[cached(ttl = 60)]
        async fn name(id: u64) -> String {
            format!("left {id}")
        }
        (name(id).key(), name(id).await)
    }
    let both = async |id| {
        let left = {
            #[cached(ttl = 60)]
            async fn name(id: u64) -> String {
                format!("inner left {id}")
            }
            (name(id).key(), name(id).await)
        };
        let right = {
            #[cached(ttl = 60)]
            async fn name(id: u64) -> String {
                format!("inner right {id}")
            }
            (name(id).key(), name(id).await)
        };
        [left, right]
    };
    block_on(Cache::memory().scope(async {
        for _ in 0..2 {
            let [inner_left, inner_right] = both(1).await;
            let outer = left(1).await;
            assert_eq!(outer.1, "left 1");
            assert_eq!(inner_left.1, "inner left 1");
            assert_eq!(inner_right.1, "inner right 1");
            assert_ne!(inner_left.0, inner_right.0);
            assert_ne!(inner_left.0, outer.0);
        }
    }));
}

#[cached(ttl = 60, key = "account:{id}")]
async fn account(id: u64) -> String {
    format!("account {id}")
}

#[cached(ttl = 60, key = "account:{number}")]
async fn account_again(number: u64) -> Result<String, String> {
    Err(format!("nobody stored {number}"))
}

#[cached(ttl = 60, key = "account:{id}")]
async fn account_balance(id: u64) -> u64 {
    id * 100
}

#[cached(ttl = 60, key = "account:{id}", version = 1)]
async fn account_renamed(id: u64) -> String {
    format!("renamed {id}")
}

#[test]
fn functions_share_a_template_on_purpose() {
    block_on(Cache::memory().scope(async {
        assert_eq!(account(1).await, "account 1");
        assert_eq!(account_again(1).await, Ok("account 1".to_owned()));
        account_again(1).invalidate().await.unwrap();
        assert_eq!(account(1).peek().await, None);
    }));
}

#[test]
fn values_of_two_types_under_one_template_stay_apart_and_stay() {
    block_on(Cache::memory().scope(async {
        for _ in 0..2 {
            assert_eq!(account(1).await, "account 1");
            assert_eq!(account_balance(1).await, 100);
            assert_eq!(account_renamed(1).await, "renamed 1");
        }
        assert_eq!(account(1).peek().await.unwrap(), "account 1");
        assert_eq!(account_balance(1).peek().await.unwrap(), 100);
        let stats = Cache::current().stats();
        assert_eq!(stats.function("account").unwrap().runs, 1);
        assert_eq!(stats.function("account_balance").unwrap().runs, 1);
        assert_eq!(stats.function("account_renamed").unwrap().runs, 1);
    }));
}

#[test]
fn invalidation_by_a_key_reaches_every_value_under_it() {
    let cache = Cache::memory();
    block_on(cache.scope(async {
        account(1).await;
        account_balance(1).await;
        cache.invalidate("account:1").await.unwrap();
        assert_eq!(account(1).peek().await, None);
        assert_eq!(account_balance(1).peek().await, None);
    }));
}

#[test]
fn a_key_written_out_is_another_copy_and_is_invalidated_with_the_first() {
    let cache = Cache::memory();
    let by_hand = async || {
        let load = async { Ok::<_, Infallible>("by hand".to_owned()) };
        let a_minute = Options::ttl(Duration::from_secs(60));
        cache.get_or_load("account:1", a_minute, load).await.unwrap()
    };
    block_on(cache.scope(async {
        assert_eq!(account(1).await, "account 1");
        assert_eq!(by_hand().await, "by hand");
        account(1).put("put".to_owned()).await.unwrap();
        assert_eq!(by_hand().await, "by hand");
        account(1).invalidate().await.unwrap();
        let runs = cache.stats().function("get_or_load").unwrap().runs;
        by_hand().await;
        assert_eq!(cache.stats().function("get_or_load").unwrap().runs, runs + 1);
    }));
}

#[test]
fn a_long_key_keeps_a_readable_head_and_ends_in_a_hash() {
    let long = "a".repeat(300);
    let key = pair("short", &long).key();
    assert_sound(&key);
    assert!(key.starts_with("pair:short:aaaaaaaa"), "{key}");
    let hash = &key[key.len() - 64..];
    assert!(hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{key}");
    assert_ne!(key, pair("short", &(long.clone() + "a")).key());
    // As long as a key may be, and so as it is.
    let longest = "a".repeat(200 - "pair:short:".len());
    assert_eq!(pair("short", &longest).key(), format!("pair:short:{longest}"));
    assert_ne!(pair("short", &(longest.clone() + "a")).key().len(), 201);
}

#[test]
fn a_long_key_is_cut_between_characters() {
    for shift in 0..4 {
        let key = pair(&"a".repeat(shift), &"\u{1f980}".repeat(100)).key();
        assert_sound(&key);
        assert!(!key.contains(char::REPLACEMENT_CHARACTER), "{key}");
    }
}

#[test]
fn a_key_is_what_invalidate_takes() {
    let cache = Cache::memory();
    let long = "a".repeat(300);
    block_on(cache.scope(async {
        for (a, b) in [("1:2", "{3}"), ("", "\n"), ("short", long.as_str())] {
            pair(a, b).await;
            hashed_pair(a, b).await;
            cache.invalidate(&pair(a, b).key()).await.unwrap();
            assert_eq!(pair(a, b).peek().await, None);
            assert!(hashed_pair(a, b).peek().await.is_some());
            cache.invalidate(&hashed_pair(a, b).key()).await.unwrap();
            assert_eq!(hashed_pair(a, b).peek().await, None);
        }
    }));
}

#[test]
fn keys_leave_the_service_out() {
    let cache = Cache::builder("shop").build().unwrap();
    block_on(cache.scope(async {
        assert_eq!(account(1).key(), "account:1");
        account(1).await;
        cache.invalidate("shop:account:1").await.unwrap();
        assert!(account(1).peek().await.is_some());
        cache.invalidate("account:1").await.unwrap();
        assert_eq!(account(1).peek().await, None);
    }));
}

#[test]
fn without_a_template_the_key_is_the_path_and_a_hash() {
    let key = first::name(1).key();
    let (path, hash) = key.rsplit_once(':').unwrap();
    assert_eq!(path, "keys::first::name");
    assert_eq!(hash.len(), 64);
    assert_ne!(key, first::name(2).key());
}

#[test]
fn every_argument_is_in_the_key_that_is_not_skipped() {
    #[cached(ttl = 60, skip(log))]
    async fn search(words: &str, log: &HashMap<String, f64>, limit: u8) -> usize {
        log.len()
    }
    let key = |words, limit| search(words, &HashMap::new(), limit).key();
    assert_eq!(key("a", 1), key("a", 1));
    assert_ne!(key("a", 1), key("b", 1));
    assert_ne!(key("a", 1), key("a", 2));
}
