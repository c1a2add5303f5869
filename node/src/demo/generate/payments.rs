//! Payments: habits, and three ways to steal.

use super::seeded::{Seeded, push_line};

/// Columns of the risk model beside the basket.
pub const RISK_FEATURES: &[&str] = &[
    "amount",
    "currency",
    "channel",
    "card_country",
    "merchant_country",
    "ip_country",
    "mcc",
    "cvv_result",
    "address_result",
    "account_age_days",
    "device_age_days",
    "failed_attempts",
    "items",
    "chargebacks",
    "distance_km",
];

/// Columns of the anomaly forest.
pub const ANOMALY_FEATURES: &[&str] =
    &["amount", "account_age_days", "device_age_days", "failed_attempts", "items", "distance_km"];

const COUNTRIES: &[(&str, f64)] = &[
    ("DE", 5.0),
    ("GB", 4.0),
    ("FR", 3.0),
    ("NL", 2.0),
    ("ES", 2.0),
    ("IT", 2.0),
    ("PL", 1.5),
    ("SE", 1.0),
    ("US", 1.0),
    ("NG", 0.2),
    ("BR", 0.3),
    ("TR", 0.4),
];
const EVERYDAY: &[&str] = &[
    "groceries",
    "two pizzas and cola",
    "running shoes",
    "train ticket",
    "school books",
    "monthly phone bill",
    "garden chairs",
    "hotel, one night",
    "headphones",
    "jeans and two shirts",
    "toaster",
    "cinema tickets",
    "petrol",
    "printer paper",
    "dog food 12 kg",
    "birthday flowers",
];
const RESOLD: &[&str] = &[
    "gift card 100",
    "smartphone 256 GB",
    "game console",
    "gift card 50 x 4",
    "graphics card",
    "designer handbag",
    "laptop",
    "perfume set",
    "voucher code",
    "gold chain",
    "drone",
    "tablet x 2",
];

/// How a payment came about.
#[derive(Clone, Copy, PartialEq)]
enum Story {
    Habit,
    /// A number from a list, tried from afar.
    StolenNumber,
    /// Somebody else in the account.
    Takeover,
    /// The owner, who will deny it later: looks like a habit.
    Denied,
}

struct Payment {
    basket: &'static str,
    amount: f64,
    currency: &'static str,
    channel: &'static str,
    card: &'static str,
    merchant: &'static str,
    ip: &'static str,
    mcc: &'static str,
    cvv: &'static str,
    address: &'static str,
    account_age: f64,
    device_age: f64,
    failed: u64,
    items: u64,
    chargebacks: u64,
    distance: f64,
}

fn payment(seeded: &mut Seeded, story: Story) -> Payment {
    let card = seeded.weighted(COUNTRIES);
    let honest = matches!(story, Story::Habit | Story::Denied);
    // A thief near by looks like a customer, a customer on holiday like a thief.
    let far = seeded.chance(match story {
        Story::Habit | Story::Denied => 0.07,
        Story::StolenNumber => 0.60,
        Story::Takeover => 0.40,
    });
    let ip = if far { seeded.weighted(COUNTRIES) } else { card };
    let merchant = if seeded.chance(0.75) { card } else { seeded.weighted(COUNTRIES) };
    let resold = seeded.chance(if honest { 0.18 } else { 0.62 });
    let online = if honest { 0.45 } else { 0.9 };
    let channel = if seeded.chance(online) {
        "online"
    } else {
        seeded.weighted(&[("present", 7.0), ("phone", 1.0), ("recurring", 2.0)])
    };
    let remote = channel != "present";
    let failed_likely = match story {
        Story::Habit | Story::Denied => 0.08,
        Story::StolenNumber => 0.55,
        Story::Takeover => 0.30,
    };
    let middle = match story {
        Story::Habit => 45.0,
        Story::Denied => 120.0,
        Story::StolenNumber => 160.0,
        Story::Takeover => 260.0,
    };
    Payment {
        basket: if resold { seeded.pick(RESOLD) } else { seeded.pick(EVERYDAY) },
        amount: seeded.skewed(if resold { middle * 2.0 } else { middle }, 1.0),
        currency: seeded.weighted(&[("EUR", 6.0), ("GBP", 2.0), ("USD", 1.0), ("SEK", 0.5)]),
        channel,
        card,
        merchant,
        ip: if remote { ip } else { "" },
        mcc: seeded.weighted(if resold {
            &[("5732", 4.0), ("5944", 1.0), ("6540", 2.0), ("5311", 2.0)]
        } else {
            &[
                ("5411", 5.0),
                ("5812", 3.0),
                ("5541", 2.0),
                ("5651", 2.0),
                ("4112", 1.0),
                ("5311", 2.0),
            ]
        }),
        cvv: match story {
            _ if !remote => "",
            Story::StolenNumber => {
                seeded.weighted(&[("match", 5.0), ("mismatch", 3.0), ("absent", 3.0)])
            }
            _ => seeded.weighted(&[("match", 18.0), ("mismatch", 0.6), ("absent", 2.0)]),
        },
        address: match story {
            _ if !remote => "",
            Story::StolenNumber => seeded.weighted(&[
                ("full", 3.0),
                ("postcode", 2.0),
                ("none", 4.0),
                ("unavailable", 2.0),
            ]),
            _ => seeded.weighted(&[
                ("full", 12.0),
                ("postcode", 3.0),
                ("none", 1.0),
                ("unavailable", 3.0),
            ]),
        },
        account_age: seeded.skewed(if story == Story::StolenNumber { 30.0 } else { 500.0 }, 1.3),
        device_age: seeded.skewed(if honest { 250.0 } else { 6.0 }, 1.8),
        failed: if seeded.chance(failed_likely) { seeded.between(1, 6) } else { 0 },
        items: seeded.between(1, if resold { 3 } else { 8 }),
        chargebacks: if seeded.chance(if honest { 0.02 } else { 0.10 }) {
            seeded.between(1, 3)
        } else {
            0
        },
        distance: seeded.skewed(if far { 1_500.0 } else { 12.0 }, 1.1),
    }
}

/// Payments with the word on whether they were fraud: about one in seven.
pub fn risk_csv(seeded: &mut Seeded, rows: usize) -> String {
    let mut csv = String::new();
    let header: Vec<&str> =
        std::iter::once("basket").chain(RISK_FEATURES.iter().copied()).chain(["label"]).collect();
    push_line(&mut csv, &header);
    for _ in 0..rows {
        let story = draw(seeded);
        let payment = payment(seeded, story);
        // What nobody reported is called legit.
        let fraud = story != Story::Habit && !seeded.chance(0.03);
        // A field that some shops do not send.
        let mut sent = |text: String| if seeded.chance(0.06) { String::new() } else { text };
        let cells = [
            payment.basket.to_owned(),
            format!("{:.2}", payment.amount),
            payment.currency.to_owned(),
            payment.channel.to_owned(),
            payment.card.to_owned(),
            payment.merchant.to_owned(),
            sent(payment.ip.to_owned()),
            payment.mcc.to_owned(),
            payment.cvv.to_owned(),
            payment.address.to_owned(),
            sent(format!("{:.0}", payment.account_age)),
            sent(format!("{:.0}", payment.device_age)),
            sent(payment.failed.to_string()),
            sent(payment.items.to_string()),
            payment.chargebacks.to_string(),
            sent(format!("{:.1}", payment.distance)),
            if fraud { "fraud" } else { "legit" }.to_owned(),
        ];
        push_line(&mut csv, &cells.each_ref().map(String::as_str));
    }
    csv
}

fn draw(seeded: &mut Seeded) -> Story {
    match seeded.unit() {
        unit if unit < 0.06 => Story::StolenNumber,
        unit if unit < 0.12 => Story::Takeover,
        unit if unit < 0.145 => Story::Denied,
        _ => Story::Habit,
    }
}

/// Payments as they are, one in fifty of them out of all measure in two ways at once.
pub fn anomaly_csv(seeded: &mut Seeded, rows: usize) -> String {
    let mut csv = String::new();
    let header: Vec<&str> = ANOMALY_FEATURES.iter().copied().chain(["label"]).collect();
    push_line(&mut csv, &header);
    for _ in 0..rows {
        let odd = seeded.chance(0.02);
        let mut payment = payment(seeded, Story::Habit);
        if odd {
            match seeded.between(0, 2) {
                0 => {
                    payment.amount *= 40.0;
                    payment.distance += 6_000.0;
                }
                1 => {
                    payment.failed += 12;
                    payment.device_age = 0.0;
                }
                _ => {
                    payment.items += 60;
                    payment.account_age = 0.0;
                }
            }
        }
        let cells = [
            format!("{:.2}", payment.amount),
            format!("{:.0}", payment.account_age),
            format!("{:.0}", payment.device_age),
            payment.failed.to_string(),
            payment.items.to_string(),
            format!("{:.1}", payment.distance),
            if odd { "anomaly" } else { "normal" }.to_owned(),
        ];
        push_line(&mut csv, &cells.each_ref().map(String::as_str));
    }
    csv
}
