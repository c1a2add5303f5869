use proptest::prelude::*;

use super::*;

fn rows(text: &[u8]) -> Vec<Vec<String>> {
    let read = read_csv(text, &CsvOptions::default()).unwrap();
    let cells = |record: &CsvRecord| record.iter().map(str::to_owned).collect();
    std::iter::once(&read.header).chain(&read.rows).map(cells).collect()
}

fn check_fault(text: &[u8], place: (u32, u32), part: &str) {
    let shown = String::from_utf8_lossy(text).into_owned();
    let faults = read_csv(text, &CsvOptions::default()).expect_err(&shown);
    assert_eq!((faults[0].line, faults[0].column), place, "{shown:?}: {}", faults[0]);
    assert!(faults[0].message.contains(part), "{shown:?}: {}", faults[0]);
}

#[test]
fn cells_quotes_and_line_ends_are_read() {
    let check = |text: &str, expected: &[&[&str]]| {
        assert_eq!(rows(text.as_bytes()), expected, "{text:?}");
    };
    check("a,b\n1,2\n", &[&["a", "b"], &["1", "2"]]);
    check("\u{feff}a,b\r\n1,2\r\n", &[&["a", "b"], &["1", "2"]]);
    check("a,b\r1,2\r\r3,4", &[&["a", "b"], &["1", "2"], &["3", "4"]]);
    check("\n\na\n\n1\n\n", &[&["a"], &["1"]]);
    check("a,b\n\"x, y\",\"say \"\"no\"\"\"\n", &[&["a", "b"], &["x, y", "say \"no\""]]);
    check("a,b\n\"one\r\ntwo\",\n", &[&["a", "b"], &["one\r\ntwo", ""]]);
    check("a\n\"\"\n", &[&["a"], &[""]]);
    check(" a , b \n 1 ,\"2\"  \n", &[&["a", "b"], &[" 1 ", "2"]]);
    check("a\tb,c\n1,2\n", &[&["a\tb", "c"], &["1", "2"]]);
}

#[test]
fn places_count_lines_and_characters() {
    let text = "é,b,c\n\"x\ny\",ü,3\n,,\n";
    let read = read_csv(text.as_bytes(), &CsvOptions::default()).unwrap();
    assert_eq!(read.header.place(1), (1, 3));
    assert_eq!(read.rows[0].place(0), (2, 1));
    assert_eq!(read.rows[0].place(1), (3, 4));
    assert_eq!(read.rows[0].place(2), (3, 6));
    assert_eq!(read.rows[1].place(2), (4, 3));
    assert!(read.rows[0].is_quoted(0) && !read.rows[0].is_quoted(1));
}

#[test]
fn quotes_that_swallow_text_are_refused() {
    check_fault(b"a,b\n1,2\n3,\"4\n5,6\n7,8\n", (3, 3), "never closed");
    check_fault(b"a,b\n1,\"2\n3,4\n5,\"6\"\n", (4, 4), "line 2, column 3");
    check_fault(b"a,b\n1,\"2\" x\n", (2, 7), "text follows");
    check_fault(b"a,b\n1,5\" pipe\n", (2, 4), "put the whole cell in quotes");
    check_fault(b"a,b\n1, \"2\"\n", (2, 4), "remove the blanks");
    check_fault(b"\"a,b\n1,2\n", (1, 1), "never closed");
}

#[test]
fn rows_of_another_length_are_refused_each() {
    let faults = read_csv(b"a,b\n1\n1,2\n1,2,3\n1;2\n", &CsvOptions::default()).unwrap_err();
    let lines: Vec<u32> = faults.iter().map(|fault| fault.line).collect();
    assert_eq!(lines, [2, 4, 5]);
    assert!(faults[0].message.contains("1 cell, the header has 2"), "{}", faults[0]);
    assert!(faults[1].message.contains("in quotes"), "{}", faults[1]);
    assert!(faults[2].message.contains("semicolons"), "{}", faults[2]);
    check_fault(b"a,b\n1,2\na,b\n", (3, 1), "repeats the header");
}

#[test]
fn headers_are_checked() {
    check_fault(b"", (1, 1), "empty");
    check_fault(b"\n\n", (1, 1), "empty");
    check_fault(b"a,\n1,2\n", (1, 3), "no name");
    check_fault(b"a,b, a\n1,2,3\n", (1, 5), "named twice");
    check_fault("a,b\u{200b}\n1,2\n".as_bytes(), (1, 3), "U+200B");
    let options = CsvOptions { comment_columns: true, ..CsvOptions::default() };
    assert!(read_csv(b"a,#,#\n1,,\n", &options).is_ok());
}

#[test]
fn other_formats_are_named() {
    let check = |text: &[u8], part: &str| check_fault(text, (1, 1), part);
    check(b"a;b\n1;2\n", "semicolons");
    check(b"\xef\xbb\xbf\"a\";\"b, c\"\n1;2\n", "semicolons");
    check(b"a\tb\n1\t2\n", "tabs");
    check(b"a|b\n1|2\n", "vertical bars");
    check(b"sep=;\na;b\n", "sep=");
    check(b"\xff\xfea\0,\0b\0\n\0", "UTF-16");
    check(b"a\0,\0b\0\n\0", "UTF-16");
    check(b"PK\x03\x04....", "spreadsheet");
    check(b"[{\"a\": 1}]", "JSON");
    check(b"{\"a\": 1}\n{\"a\": 2}\n", "JSON");
    check(b"<!DOCTYPE html>", "HTML");
    check_fault(b"a,b\n1,caf\xe9\n", (2, 3), "0xe9");
    check_fault(b"a,b\n1,x\0y\n", (2, 3), "U+0000");
}

#[test]
fn limits_hold_while_reading() {
    let check = |options: &CsvOptions, text: &str, part: &str| {
        let faults = read_csv(text.as_bytes(), options).unwrap_err();
        assert!(faults[0].message.contains(part), "{}", faults[0]);
    };
    let limits = CsvOptions {
        columns_max: 2,
        rows_max: 2,
        cell_bytes_max: 4,
        row_bytes_max: 6,
        ..CsvOptions::default()
    };
    check(&limits, "a,b,c\n", "2 cells");
    check(&limits, "a\n1\n2\n3\n", "2 rows");
    check(&limits, "a\n12345\n", "4 bytes");
    check(&limits, "a\n\"\n\n\n\n\n\n\n", "close its quote");
    check(&limits, "a,b\n1234,5678\n", "6 bytes");
}

#[test]
fn names_that_a_reader_does_not_know_are_told_apart() {
    let wanted = Wanted {
        required: &["value"],
        known: &["expires", "aliases"],
        synonyms: &[("until", "expires")],
    };
    let check = |text: &str, expected: Result<Vec<usize>, &[&str]>| {
        let read = read_csv(text.as_bytes(), &CsvOptions::default()).unwrap();
        match (check_header(&read.header, &wanted), expected) {
            (Ok(others), Ok(expected)) => assert_eq!(others, expected, "{text}"),
            (Err(faults), Err(parts)) => {
                assert_eq!(faults.len(), parts.len(), "{text}: {faults:?}");
                for (fault, part) in faults.iter().zip(parts) {
                    assert!(fault.message.contains(part), "{fault}");
                }
            }
            (found, _) => panic!("{text}: {found:?}"),
        }
    };
    check("value,expires,colour", Ok(vec![2]));
    check("value,Expires,alias", Err(&["did you mean `expires`?", "did you mean `aliases`?"]));
    check("Value,until", Err(&["did you mean `value`?", "did you mean `expires`?"]));
    check("name,expires", Err(&["must name a column `value`; it names `name`, `expires`"]));
    check("value,aliases,alias", Err(&["resembles the column `aliases`"]));
}

/// A source that gives few bytes at a time, as pipes do.
struct Trickle<'a>(&'a [u8]);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = buffer.len().min(3);
        self.0.read(&mut buffer[..most])
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_and_chunks_do_not_matter(
        cells in proptest::collection::vec(proptest::collection::vec("[a,\" \né;]{0,6}", 3), 0..6)
    ) {
        let mut writer = ::csv::WriterBuilder::new().from_writer(Vec::new());
        writer.write_record(["x", "y", "z"]).unwrap();
        for row in &cells {
            writer.write_record(row).unwrap();
        }
        let text = writer.into_inner().unwrap();
        prop_assert_eq!(&rows(&text)[1..], &cells[..]);

        let source = std::io::BufReader::with_capacity(5, Trickle(&text));
        let mut reader = CsvReader::new(source, &CsvOptions::default()).unwrap();
        let mut record = CsvRecord::default();
        for row in &cells {
            prop_assert!(reader.read(&mut record).unwrap());
            prop_assert!(record.iter().eq(row.iter().map(String::as_str)));
        }
        prop_assert!(!reader.read(&mut record).unwrap());
    }

    #[test]
    fn any_bytes_are_read_or_refused_and_what_is_read_agrees_with_the_csv_crate(
        body in "[ab,\" \n\r\té]{0,40}"
    ) {
        let text = format!("x,y\n{body}");
        if let Ok(read) = read_csv(text.as_bytes(), &CsvOptions::default()) {
            let mut other = ::csv::ReaderBuilder::new().from_reader(text.as_bytes());
            for (record, expected) in read.rows.iter().zip(other.records()) {
                let expected = expected.unwrap();
                for (index, (cell, expected)) in record.iter().zip(&expected).enumerate() {
                    // Blanks behind a closing quote are dropped here.
                    let same = if record.is_quoted(index) {
                        expected.strip_prefix(cell).is_some_and(|rest| rest.trim().is_empty())
                    } else {
                        cell == expected
                    };
                    prop_assert!(same, "{:?} {:?}", cell, expected);
                }
            }
        }
    }
}
