//! Numbers from a seed, and lines of CSV.

/// SplitMix64 (Steele, Lea and Flood 2014): small, and the same on every machine and in every version
/// of every library, which the demo's models depend on.
#[derive(Debug, Clone)]
pub struct Seeded(u64);

impl Seeded {
    /// A sequence for a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to 1, 1 excluded.
    pub fn unit(&mut self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
        let unit = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        unit
    }

    /// True with a probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// A whole number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high.saturating_sub(low) + 1)
    }

    /// One of several; the first of none is the empty text.
    pub fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        let place = usize::try_from(self.next() % (from.len().max(1) as u64)).unwrap_or(0);
        from.get(place).copied().unwrap_or("")
    }

    /// One of several by weight.
    pub fn weighted<'a>(&mut self, from: &[(&'a str, f64)]) -> &'a str {
        let total: f64 = from.iter().map(|(_, weight)| weight).sum();
        let mut rest = self.unit() * total;
        for (text, weight) in from {
            rest -= weight;
            if rest < 0.0 {
                return text;
            }
        }
        from.last().map_or("", |(text, _)| text)
    }

    /// A positive number around a middle, with a long tail to the right: `middle * exp(spread * z)`
    /// with `z` close to normal (the sum of twelve units).
    pub fn skewed(&mut self, middle: f64, spread: f64) -> f64 {
        let z: f64 = (0..12).map(|_| self.unit()).sum::<f64>() - 6.0;
        middle * (spread * z).exp()
    }

    /// The text with one letter lost, doubled or exchanged, as fingers do.
    pub fn mistyped(&mut self, text: &str) -> String {
        let mut letters: Vec<char> = text.chars().collect();
        if letters.len() < 8 {
            return text.to_owned();
        }
        let place = usize::try_from(self.between(1, letters.len() as u64 - 2)).unwrap_or(1);
        match self.between(0, 2) {
            0 => {
                letters.remove(place);
            }
            1 => letters.insert(place, letters[place]),
            _ => letters.swap(place, place + 1),
        }
        letters.into_iter().collect()
    }
}

/// Adds a line of cells, quoted where they need it.
pub fn push_line(csv: &mut String, cells: &[&str]) {
    for (index, cell) in cells.iter().enumerate() {
        if index > 0 {
            csv.push(',');
        }
        if cell.contains([',', '"', '\n', '\r']) {
            csv.push('"');
            csv.push_str(&cell.replace('"', "\"\""));
            csv.push('"');
        } else {
            csv.push_str(cell);
        }
    }
    csv.push('\n');
}
