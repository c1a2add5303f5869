//! Searches by flow, outcome, reason and time.

use verdict_actors::journal::{DecisionId, JournalError, SearchQuery};
use verdict_config::TimestampMs;
use verdict_config::definition::Outcome;

use super::support::{Bench, Given, START_MS, all};

#[tokio::test]
async fn finds_by_every_part_newest_first_in_pages() {
    // Phase 1: 300 records over several segments, one a second.
    let bench = Bench::with(|options| options.segment_bytes = 4_096);
    let (journal, _) = bench.open();
    let mut written: Vec<DecisionId> = Vec::new();
    for number in 0i64..300 {
        let flow = if number % 2 == 0 { "payment" } else { "message" };
        let outcome = if number % 3 == 0 { Outcome::Review } else { Outcome::Approve };
        let reasons: &[&str] = if number % 5 == 0 { &["A", "B"] } else { &["B"] };
        let given = Given { flow, outcome, reasons, test: number % 10 == 9, ..Given::default() };
        written.push(bench.append(&journal, given).0);
        bench.pass(1_000);
    }
    let expect = |fits: &dyn Fn(i64) -> bool| -> Vec<DecisionId> {
        (0i64..300)
            .rev()
            .filter(|n| fits(*n))
            .map(|n| written[usize::try_from(n).unwrap()])
            .collect()
    };
    let check = |journal: &verdict_actors::journal::Journal| {
        let find = |query: SearchQuery| -> Vec<DecisionId> {
            all(journal, &SearchQuery { limit: 7, ..query }).iter().map(|hit| hit.id).collect()
        };
        let any = SearchQuery::default;
        let text = |text: &str| Some(text.to_owned());
        let not_test = |n: i64| n % 10 != 9;
        let at = |second: i64| Some(TimestampMs(START_MS + 1_000 * second));
        assert_eq!(find(any()), expect(&not_test));
        assert_eq!(find(SearchQuery { include_test: true, ..any() }), expect(&|_| true));
        let flow = SearchQuery { flow: text("payment"), ..any() };
        assert_eq!(find(flow), expect(&|n| n % 2 == 0));
        let outcome = SearchQuery { outcome: Some(Outcome::Review), ..any() };
        assert_eq!(find(outcome), expect(&|n| not_test(n) && n % 3 == 0));
        let reason = SearchQuery { reason: text("A"), ..any() };
        assert_eq!(find(reason), expect(&|n| not_test(n) && n % 5 == 0));
        let time = SearchQuery { since: at(100), until: at(200), ..any() };
        assert_eq!(find(time), expect(&|n| not_test(n) && (100..200).contains(&n)));
        assert_eq!(find(SearchQuery { flow: text("none"), ..any() }), []);
    };
    check(&journal);
    // Phase 2: the same from sidecars.
    journal.drain().await;
    let (journal, report) = bench.open();
    assert!(report.segments > 5 && report.damage.is_empty(), "{report:?}");
    check(&journal);
    let hit = &journal.search(&SearchQuery::default()).unwrap().hits[0];
    assert_eq!((hit.flow.as_str(), hit.at), ("payment", TimestampMs(START_MS + 298_000)));
    assert_eq!(hit.reasons, ["B"]);
}

#[test]
fn work_is_bounded_and_goes_on_with_the_cursor() {
    let bench = Bench::with(|options| {
        options.segment_bytes = 4_096;
        options.search_rows_max = 10;
    });
    let (journal, _) = bench.open();
    let (rare, _) = bench.append(&journal, Given { reasons: &["RARE"], ..Given::default() });
    for _ in 0..95 {
        bench.append(&journal, Given::default());
    }
    let mut query = SearchQuery { reason: Some("RARE".to_owned()), ..SearchQuery::default() };
    // Segments without the name are passed over at no cost; those with it row by row.
    let page = journal.search(&query).unwrap();
    assert!(page.hits.is_empty() && page.next.is_some());
    assert_eq!(all(&journal, &query).iter().map(|hit| hit.id).collect::<Vec<_>>(), [rare]);
    query.cursor = Some("nonsense".to_owned());
    assert_eq!(journal.search(&query), Err(JournalError::Cursor));
}
