//! Messages: what people and firms write to each other, and what thieves write.
//!
//! `{...}` in a template is filled in from the list of that name.

use super::seeded::{Seeded, push_line};

const FRAUD: &[&str] = &[
    "{bank}: your account has been {locked}. {verify} at {link}",
    "{bank} alert: unusual activity of {sum}. If this was not you {verify} {link}",
    "Your parcel {code} is waiting. Pay the customs fee of {fee}: {link}",
    "{carrier}: delivery failed, reschedule within {hours} hours {link}",
    "Hi {parent}, I {lostphone}, this is my new number. Can you {payme} today? I will pay you back",
    "Hi {parent} it's me, my phone broke. Need to pay a bill of {sum}, can you send it?",
    "CONGRATULATIONS! You have won {prize}. Claim before {day}: {link}",
    "You were chosen for {prize}, reply YES to claim your reward",
    "Dear friend, I am {official} and need a partner to move {bigsum}. You keep 30 percent",
    "This is {official}. You owe {sum} in {tax}. Pay {hours} hours or {threat}",
    "Work from home, earn {sum} per day liking videos. No experience. Write to {name} on chat",
    "Hello, we found your profile. Part time task job, {sum} daily, paid in crypto",
    "Our trading group made {percent} percent last week. Minimum deposit {sum}. Join {link}",
    "Guaranteed profit with {coin}, withdraw anytime. Ask {name} how I did it",
    "Please note our bank details have changed. Pay invoice {code} to the new account {iban}",
    "{name} here, are you at your desk? I need {prize2} for a client, buy them and send me the codes",
    "I recorded you through your webcam. Send {sum} in {coin} or everyone will see it",
    "My dear, the hospital bill is {sum} and I cannot leave. Please help, I will come to you {day}",
    "Your subscription could not be renewed. Update your card {link}",
    "Tax refund of {sum} approved. Enter your card to receive it {link}",
    "Someone is sending you {sum}. Give me the code you just got to accept it",
    // Ones that say little.
    "Hello, is this still your number?",
    "Hi, I think we met last year? It's {name}",
    "Could you do me a small favour today? I am in a meeting",
    "Invoice {code} attached, please pay by {day}",
    "Your parcel will arrive {day}. Change: {link}",
];

const HAM: &[&str] = &[
    "Are we still on for {day}? I can be there at {time}",
    "Running late, be there at {time}",
    "{parent} asks if you are coming for dinner {day}",
    "Can you pick up milk and bread on the way?",
    "Meeting moved to {day} {time}, same room",
    "Happy birthday! See you {day}",
    "Your code is {digits}. Do not share it with anyone. {bank}",
    "{bank}: you paid {sum} at {shop} today at {time}",
    "{bank}: your statement is ready. Open the app to read it",
    "{carrier}: parcel {code} will be delivered {day} between 9 and 13. Track: {link}",
    "{carrier}: we missed you, parcel {code} is at the shop in your street",
    "Your appointment with Dr {name} is {day} at {time}. Reply 1 to confirm",
    "Reminder: library books are due {day}",
    "Invoice {code} for {sum} is attached, due {day}. Thank you, {shop}",
    "{shop}: 20 percent off everything until {day}. {link}",
    "{shop}: your order {code} is ready to collect",
    "Thanks for the transfer, got the {sum}. See you {day}",
    "I sent you {sum} for the tickets",
    "Rent for this month is paid, receipt attached",
    "Did you get the offer from {name}? I think it is too expensive",
    "Can you send me the slides before {day}? Thanks, {name}",
    "Train is cancelled, taking the bus at {time}",
    "Call me when you are home, nothing urgent",
    "My phone broke, use this number until {day}. {name} from work",
    "Your subscription renews {day} for {fee}. Manage it in your account",
    "We won! {name} scored twice",
    "Please verify the figures in the report, {name} needs them {day}",
    "Could you do me a favour and water the plants {day}?",
    "Sorry wrong number",
    "Hi, is this still your number? It's {name} from school",
    "The interview is {day} at {time}, ask for {name}",
];

const SLOTS: &[(&str, &[&str])] = &[
    ("bank", &["Nordhafen Bank", "First Mutual", "Cedar Savings", "Banque du Lac", "Alpenkasse"]),
    ("locked", &["locked", "limited", "suspended", "put on hold"]),
    ("verify", &["verify", "confirm your identity", "log in to restore it", "Check now"]),
    (
        "link",
        &[
            "http://shrt.example/a7",
            "https://lnk.example/q",
            "www.parcel-track.example",
            "https://go2.example/x9",
            "https://app.example/me",
            "http://secure-login.example",
        ],
    ),
    ("carrier", &["PostExpress", "Parcelo", "GoDeliver", "Rapid Van"]),
    ("parent", &["mum", "dad", "Mum", "Dad"]),
    ("lostphone", &["lost my phone", "dropped my phone", "got a new phone"]),
    ("payme", &["transfer {sum}", "pay a bill for me", "send {sum} to a friend"]),
    ("prize", &["a {sum} voucher", "a new phone", "a holiday for two", "free fuel for a year"]),
    ("prize2", &["five gift cards", "some vouchers of {sum}", "gift cards"]),
    (
        "official",
        &[
            "the tax office",
            "a lawyer of the late Mr {name}",
            "the police",
            "the customs office",
            "auditor of a bank",
        ],
    ),
    ("tax", &["unpaid tax", "customs duty", "fines"]),
    ("threat", &["an arrest warrant is issued", "your account is seized", "we take you to court"]),
    ("coin", &["bitcoin", "crypto", "USDT"]),
    ("percent", &["40", "65", "120", "300"]),
    ("bigsum", &["4.5 million dollars", "12 million", "a large inheritance"]),
    (
        "name",
        &[
            "Anna", "Ben", "Chloe", "Daniel", "Elif", "Frank", "Grace", "Henrik", "Ines", "Jonas",
            "Kim",
        ],
    ),
    (
        "shop",
        &["Lindenmarkt", "Harbour Books", "Velo Haus", "Casa Verde", "Toolbox", "Miro Optics"],
    ),
    (
        "day",
        &[
            "Monday",
            "Tuesday",
            "Wednesday",
            "Friday",
            "tomorrow",
            "Saturday",
            "on the 14th",
            "tonight",
        ],
    ),
    ("time", &["9", "10:30", "12:15", "3 pm", "17:45", "half past six", "8"]),
    ("hours", &["12", "24", "48", "2"]),
    ("sum", &["20", "45 euros", "120", "250", "380 EUR", "500", "99.90", "1200", "64.50"]),
    ("fee", &["1.99", "2.49", "4.99", "12.99"]),
    ("code", &["RX-2291", "88213", "PK40021", "A-17", "55190-2", "INV 204", "7731"]),
    ("digits", &["481920", "113355", "907214", "662018"]),
    ("iban", &["XX12 3344 5566", "XX98 7766 1020", "YY40 1200 9911"]),
];

/// Messages with the word on whether they were fraud: about one in three.
pub fn csv(seeded: &mut Seeded, rows: usize) -> String {
    let mut csv = String::new();
    push_line(&mut csv, &["text", "label"]);
    for _ in 0..rows {
        let fraud = seeded.chance(0.35);
        let mut text = fill(seeded, if fraud { FRAUD } else { HAM });
        // Two messages in one.
        if seeded.chance(0.15) {
            text.push_str(". ");
            text.push_str(&fill(seeded, HAM));
        }
        if seeded.chance(0.15) {
            text = seeded.mistyped(&text);
        }
        if seeded.chance(0.1) {
            text = text.to_lowercase();
        }
        let told = if seeded.chance(0.015) { !fraud } else { fraud };
        push_line(&mut csv, &[&text, if told { "fraud" } else { "ham" }]);
    }
    csv
}

/// A template with its slots filled in; slots in slots too, to a depth of three.
fn fill(seeded: &mut Seeded, templates: &[&str]) -> String {
    let mut text = seeded.pick(templates).to_owned();
    for _ in 0..3 {
        while let Some((before, rest)) = text.split_once('{') {
            let Some((slot, after)) = rest.split_once('}') else { break };
            let known = SLOTS.iter().find(|(name, _)| *name == slot);
            let value = known.map_or("", |(_, values)| seeded.pick(values));
            text = format!("{before}{value}{after}");
        }
    }
    text
}
