//! Whatever a client sends, the node answers with a code and goes on.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use crate::fixture::FILES;
use crate::process::{KEY, Node};

/// Sends bytes as the body of a POST, without a client that would object to them.
fn raw_post(node: &Node, path: &str, content_type: &str, body: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(&node.address).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nx-api-key: {KEY}\r\ncontent-type: {content_type}\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("the head is sent");
    // A server that refuses a large body may close before it has read it all.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.split(' ').nth(1).and_then(|code| code.parse().ok());
    (status.unwrap_or_else(|| panic!("no status in {text:?}")), text)
}

#[test]
fn bad_bodies_get_a_coded_answer_each_and_the_node_goes_on() {
    let node = Node::start(FILES);
    let deep = format!("{{\"input\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let large = format!("{{\"input\":{{\"note\":\"{}\"}}}}", "x".repeat(3 << 20));
    let path = "/v1/decisions/payment";
    let table: &[(&str, &[u8], u16, &str)] = &[
        (path, b"", 400, "VD0401"),
        (path, b"not json", 400, "VD0401"),
        (path, b"[1,2]", 400, "VD04"),
        (path, b"\"text\"", 400, "VD04"),
        (path, br#"{"input":{"card":"a","amount":1}"#, 400, "VD0401"),
        (path, b"{\"input\":{\"card\":\"\xff\xfe\",\"amount\":1}}", 400, "VD0401"),
        (path, deep.as_bytes(), 400, "VD04"),
        (path, large.as_bytes(), 413, "VD0803"),
        (path, br#"{}"#, 400, "VD0402"),
        (path, br#"{"input":{"amount":1}}"#, 400, "VD0402"),
        (path, br#"{"input":{"card":"a","amount":"much"}}"#, 400, "VD0402"),
        (path, br#"{"input":{"card":"a","amount":NaN}}"#, 400, "VD0401"),
        (path, br#"{"input":{"card":"a","amount":1e999}}"#, 400, "VD04"),
        (path, br#"{"input":{"card":"a","amount":2000000}}"#, 400, "VD0402"),
        (path, br#"{"input":{"card":"a","amount":1,"colour":"red"}}"#, 400, "VD0402"),
        (path, br#"{"input":{"card":["a"],"amount":1}}"#, 400, "VD0402"),
        (path, br#"{"input":{"card":"a","amount":1},"as_of":"soon"}"#, 400, "VD04"),
        (path, br#"{"input":{"card":"a","amount":1},"extra":1}"#, 400, "VD04"),
        ("/v1/decisions/nothing", br#"{"input":{}}"#, 404, "VD0403"),
        ("/v1/decisions/payment:dance", br#"{"input":{}}"#, 404, "VD08"),
        ("/v1/nothing", b"{}", 404, "VD0806"),
        ("/v1/outcomes", br#"{"outcomes":[{"id":"1"}]}"#, 400, "VD0408"),
        ("/v1/changes", br#"{"changes":[]}"#, 400, "VD0"),
    ];
    for (path, body, status, code) in table {
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        let (found, text) = raw_post(&node, path, "application/json", body);
        assert_eq!(found, *status, "{path} {shown}: {text}");
        assert!(text.contains(&format!("\"code\":\"{code}")), "{path} {shown}: {text}");
        assert!(text.contains("application/problem+json"), "{path} {shown}: {text}");
    }
    let answer = node.post(path, &json!({"input": {"card": "a", "amount": 1}}));
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["outcome"], "approve");
}

#[test]
fn every_fault_of_an_input_is_named() {
    let node = Node::start(FILES);
    let answer = node.post(
        "/v1/decisions/payment",
        &json!({"input": {"amount": "much", "colour": 1, "note": 5}}),
    );
    assert_eq!(answer.status, 400);
    let problem = answer.json();
    let mut paths: Vec<&str> = problem["faults"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| fault["path"].as_str().unwrap())
        .collect();
    paths.sort_unstable();
    assert_eq!(paths, ["input.amount", "input.card", "input.colour", "input.note"]);
}

#[test]
fn keys_are_asked_for() {
    let node = Node::start(FILES);
    let mut stream = TcpStream::connect(&node.address).unwrap();
    stream
        .write_all(b"GET /v1/objects/flow HTTP/1.1\r\nhost: localhost\r\nx-api-key: wrong\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 401"), "{text}");
    assert!(text.contains("VD0801"), "{text}");
}

/// Reads one answer with its `content-length`; its head.
fn read_answer(stream: &mut BufReader<TcpStream>) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(stream.read_line(&mut head).expect("a line of the head"), 0, "closed: {head}");
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.expect("a length").parse().expect("a number")];
    stream.read_exact(&mut body).expect("the body");
    head
}

/// A pool of connections gets one back after every answer: it has to be good for the next request.
#[test]
fn a_body_that_comes_after_its_head_costs_no_connection() {
    let node = Node::start(FILES);
    let stream = TcpStream::connect(&node.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut stream = BufReader::new(stream);
    for (path, key, status) in [
        ("/v1/decisions/payment", "wrong", 401),
        ("/v1/decisions/00000000000000000000000000:replay", KEY, 404),
        ("/v1/nowhere", KEY, 404),
        ("/v1/decisions/payment", "wrong", 401),
    ] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nx-api-key: {key}\r\n\
             content-type: application/json\r\ncontent-length: 4\r\n\r\n"
        );
        stream.get_mut().write_all(head.as_bytes()).unwrap();
        // Time enough for a node that would answer already: then the answer is there to be read.
        stream.get_mut().set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let early = stream.fill_buf().map(<[u8]>::to_vec);
        stream.get_mut().set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        assert!(early.is_err(), "{path}: answered before the body: {early:?}");
        stream.get_mut().write_all(b"null").unwrap();
        let answered = read_answer(&mut stream);
        assert!(answered.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {answered}");
    }
}

#[test]
fn a_slow_head_is_cut_off_and_others_are_served_meanwhile() {
    let node = Node::start(FILES);
    let mut slow = TcpStream::connect(&node.address).unwrap();
    slow.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    slow.write_all(b"POST /v1/decisions/payment HTTP/1.1\r\nhost:").unwrap();
    let answer =
        node.post("/v1/decisions/payment", &json!({"input": {"card": "slow", "amount": 1}}));
    assert_eq!(answer.status, 200);
    // The node ends the connection by itself; this read would time out otherwise.
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest).expect("the node closes the connection");
}
