//! A small catalogue that whole-process tests serve.

/// A payment flow with a velocity rule, a keyword list and flags; `durable`, so that every answered
/// decision must survive.
pub const FILES: &[(&str, &str)] = &[
    (
        "flows/payment.yaml",
        r#"flow: payment
unit: card
fields:
  card: { type: symbol, need: required, max_chars: 64 }
  amount: { type: decimal, need: required, min: 0, max: 1000000 }
  note: { type: string, need: optional, max_chars: 500 }
  holder: { type: string, need: optional, sensitive: true }
  country: { type: symbol, need: optional }
rules: [payment]
score: { base: 100, levels: { medium: 300, high: 600, critical: 850 } }
record: durable
"#,
    ),
    (
        "rules/payment.yaml",
        r#"rule_set: payment
flow: payment
rules:
  - id: many_in_an_hour
    category: fraud
    severity: high
    when: window_count("1h", card) >= 3
    then: { points: 400, outcome: challenge, reason: VELOCITY }
    tests:
      - given: { card: c }
        windows: { 'window_count("1h", card)': 3 }
        expect: { hit: true }
      - given: { card: c }
        windows: { 'window_count("1h", card)': 2 }
        expect: { hit: false }
  - id: words
    category: prohibited
    severity: high
    when: keywords("bad_words", note)
    then: { points: 300, outcome: review, reason: BAD_WORD }
    tests:
      - given: { note: "for the casino" }
        expect: { hit: true }
  - id: large
    severity: medium
    when: amount > 5000
    then: { points: 250, reason: LARGE }
    tests:
      - given: { amount: 5000.01 }
        expect: { hit: true, points: 250 }
"#,
    ),
    ("lists/bad_words.csv", "value\ncasino\nunregistered arms\n"),
    (
        "flags/demo.flagd.json",
        r#"{
  "flags": {
    "greeting": {
      "state": "ENABLED",
      "variants": { "formal": "Good day", "plain": "Hi" },
      "defaultVariant": "plain",
      "targeting": { "if": [{ "==": [{ "var": "country" }, "DE"] }, "formal", null] }
    },
    "limit": { "state": "ENABLED", "variants": { "low": 10.0, "high": 99.5 }, "defaultVariant": "low" },
    "off": { "state": "DISABLED", "variants": { "on": true }, "defaultVariant": "on" }
  }
}
"#,
    ),
];
