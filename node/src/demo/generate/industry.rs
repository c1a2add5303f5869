//! Businesses with a name, a description and a sector.

use super::seeded::{Seeded, push_line};

struct Sector {
    label: &'static str,
    /// How often it comes, relative to the others.
    share: f64,
    /// What such a business does.
    does: &'static [&'static str],
    /// What its name may end with.
    names: &'static [&'static str],
}

const fn sector(
    label: &'static str,
    share: f64,
    does: &'static [&'static str],
    names: &'static [&'static str],
) -> Sector {
    Sector { label, share, does, names }
}

const SECTORS: [Sector; 16] = [
    sector(
        "11",
        0.6,
        &[
            "wheat and barley growing",
            "a herd of dairy cows",
            "greenhouse tomatoes",
            "apple orchards",
            "sheep grazing on hills",
            "salmon ponds",
            "logging in our own forest",
            "honey from our hives",
            "free range eggs",
            "vines and grapes",
            "potato fields",
            "harvesting for other farms",
        ],
        &["Farm", "Orchards", "Growers", "Forestry"],
    ),
    sector(
        "23",
        0.9,
        &[
            "building houses turnkey",
            "roof repairs",
            "laying of drains",
            "bricklaying",
            "wiring of new homes",
            "bathroom installation",
            "road surfacing",
            "demolition of old halls",
            "fitting of windows",
            "plastering and painting",
            "concrete foundations",
            "scaffold hire and erection",
        ],
        &["Construction", "Builders", "Roofing", "Contracting"],
    ),
    sector(
        "31",
        0.9,
        &[
            "manufacture of steel brackets",
            "injection moulded parts",
            "we weave cotton cloth",
            "machining of gear wheels",
            "furniture made in our works",
            "a brewery with its own bottling",
            "printing of cartons",
            "assembly of circuit boards",
            "production of soap",
            "casting of aluminium",
            "sewing of uniforms",
            "pressing of sunflower oil",
        ],
        &["Works", "Manufacturing", "Industries", "Mill"],
    ),
    sector(
        "42",
        0.8,
        &[
            "wholesale of fruit to shops",
            "distribution of spare parts to garages",
            "bulk paper for printers",
            "supplying restaurants with wine by the pallet",
            "import of tools for dealers",
            "steel stockholding for the trade",
            "a cash and carry for caterers",
            "medical supplies to hospitals",
            "office goods for resellers",
            "electrical goods to retailers",
        ],
        &["Wholesale", "Distribution", "Supplies", "Trading"],
    ),
    sector(
        "44",
        1.5,
        &[
            "a shop for shoes and bags",
            "an online shop for toys",
            "groceries and newspapers",
            "bicycles sold and repaired",
            "a garden centre",
            "second hand books",
            "jewellery and watches",
            "a pharmacy in the high street",
            "used cars with guarantee",
            "furniture store",
            "clothes for children",
            "pet food and cages",
            "wine shop",
        ],
        &["Shop", "Store", "Market", "Boutique"],
    ),
    sector(
        "48",
        0.8,
        &[
            "parcels delivered by van",
            "haulage of containers",
            "airport taxi",
            "coach hire",
            "house removals",
            "cold storage of food",
            "freight forwarding by sea",
            "bicycle couriers",
            "barge transport",
            "warehousing and picking",
        ],
        &["Transport", "Logistics", "Couriers", "Freight"],
    ),
    sector(
        "51",
        1.1,
        &[
            "software for accounting",
            "a booking app",
            "web hosting",
            "a local newspaper",
            "film production",
            "mobile games",
            "data platform for shops",
            "podcast network",
            "fibre internet access",
            "publishing of school books",
            "machine learning services",
            "website design and development",
        ],
        &["Software", "Media", "Digital", "Labs"],
    ),
    sector(
        "52",
        0.8,
        &[
            "insurance for small firms",
            "mortgage advice",
            "leasing of machines",
            "a payment institution",
            "fund management",
            "currency exchange",
            "consumer loans",
            "pension planning",
            "invoice factoring",
            "claims adjusting",
        ],
        &["Finance", "Capital", "Insurance", "Credit"],
    ),
    sector(
        "53",
        0.7,
        &[
            "letting of flats",
            "sale of houses on commission",
            "management of office blocks",
            "rental of holiday homes",
            "a storage park with units to rent",
            "property valuation",
            "hire of tools and diggers",
            "car rental",
            "land development and lease",
        ],
        &["Estates", "Property", "Lettings", "Rentals"],
    ),
    sector(
        "54",
        1.1,
        &[
            "legal advice on contracts",
            "bookkeeping and annual accounts",
            "architects for schools",
            "engineering calculations",
            "advertising campaigns",
            "market research",
            "translation of manuals",
            "patent attorneys",
            "management consulting",
            "portrait photography",
            "laboratory testing",
            "interior design",
        ],
        &["Partners", "Associates", "Consulting", "Studio"],
    ),
    sector(
        "56",
        0.8,
        &[
            "cleaning of offices",
            "guards for building sites",
            "temporary staff",
            "a call centre",
            "hedge cutting and lawns",
            "document shredding",
            "package tours and bookings",
            "waste collection",
            "facility services",
            "pest control",
        ],
        &["Services", "Staffing", "Facilities", "Security"],
    ),
    sector(
        "61",
        0.7,
        &[
            "language courses",
            "driving lessons",
            "a nursery school",
            "tutoring in mathematics",
            "music lessons at home",
            "training for welders",
            "online courses in cooking",
            "a private college",
            "swimming lessons for children",
            "exam preparation",
        ],
        &["School", "Academy", "College", "Learning"],
    ),
    sector(
        "62",
        0.9,
        &[
            "a dental practice",
            "physiotherapy",
            "home care for the elderly",
            "a family doctor",
            "psychotherapy sessions",
            "eye tests",
            "a children's clinic",
            "ambulance transport",
            "day care",
            "blood tests and x-ray",
            "speech therapy",
        ],
        &["Clinic", "Practice", "Care", "Health"],
    ),
    sector(
        "71",
        0.8,
        &[
            "a gym with classes",
            "a climbing hall",
            "theatre performances",
            "guided museum tours",
            "golf course and club",
            "concerts and festivals",
            "a bowling alley",
            "yoga studio",
            "sailing trips for groups",
            "an escape room",
            "a marina",
        ],
        &["Club", "Events", "Leisure", "Theatre"],
    ),
    sector(
        "72",
        1.4,
        &[
            "a family restaurant",
            "pizza and pasta",
            "coffee and cakes",
            "a small hotel by the lake",
            "catering for weddings",
            "a burger van",
            "bed and breakfast",
            "sushi to take away",
            "a pub with beer garden",
            "rooms and conference meals",
            "an ice cream parlour",
        ],
        &["Kitchen", "Restaurant", "Hotel", "Cafe"],
    ),
    sector(
        "81",
        0.9,
        &[
            "hair cuts and colouring",
            "car repair and tyres",
            "dry cleaning",
            "shoe repair",
            "nails and lashes",
            "funerals with dignity",
            "a dog grooming salon",
            "repair of phones",
            "a parish community",
            "tattoo studio",
            "watch repair",
            "laundry service",
        ],
        &["Salon", "Garage", "Repairs", "Barbers"],
    ),
];

const OPENERS: &[&str] = &[
    "",
    "",
    "We offer ",
    "Family business: ",
    "Independent company, ",
    "Our main activity is ",
    "Since 1998: ",
    "Specialised in ",
    "Small team doing ",
    "Local provider of ",
];
const EXTRAS: &[&str] = &[
    "",
    "",
    "",
    " for private customers",
    " for companies",
    " in the region",
    " at fair prices",
    " on request",
    " seven days a week",
    " with own staff",
    " for hotels and restaurants",
    " for schools",
    " for farms",
    " for building firms",
    " for shops",
    " for doctors",
];
/// Descriptions that fit any business; nobody can tell the sector from them.
const VAGUE: &[&str] = &[
    "Services of all kinds",
    "We help our customers every day",
    "Sales and service",
    "Quality since 1985",
    "Your partner in the region",
    "Trade and consulting",
    "Solutions for home and business",
];
const FIRST: &[&str] = &[
    "Amber", "Birch", "Coral", "Delta", "Ember", "Fjord", "Golden", "Harbour", "Iris", "Juniper",
    "Kestrel", "Linden", "Marble", "North", "Oak", "Pearl", "Quartz", "River", "Silver", "Thistle",
    "Ulmen", "Valley", "Willow", "Zephyr", "Brandt", "Costa", "Dubois", "Evans", "Ferrari", "Haas",
    "Jansen", "Kowalski",
];
const SECOND: &[&str] =
    &["", "", "", " Lane", " & Sons", " Brothers", " Point", " House", " 24", " Group"];
const FORMS: &[&str] = &["", "", "", " Ltd", " GmbH", " LLC", " SA", " BV"];
/// Name endings that any sector has.
const ANY_NAME: &[&str] = &["", "", "Company", "Group", "Services", "International", "Enterprises"];

/// Names, descriptions and sectors.
pub fn csv(seeded: &mut Seeded, rows: usize) -> String {
    let mut csv = String::new();
    push_line(&mut csv, &["name", "description", "label"]);
    for _ in 0..rows {
        let sector = &SECTORS[draw(seeded)];
        let (name, description) = (name(seeded, sector), description(seeded, sector));
        // Somebody ticked the wrong box.
        let label = if seeded.chance(0.02) { SECTORS[draw(seeded)].label } else { sector.label };
        push_line(&mut csv, &[&name, &description, label]);
    }
    csv
}

fn draw(seeded: &mut Seeded) -> usize {
    let total: f64 = SECTORS.iter().map(|sector| sector.share).sum();
    let mut rest = seeded.unit() * total;
    for (index, sector) in SECTORS.iter().enumerate() {
        rest -= sector.share;
        if rest < 0.0 {
            return index;
        }
    }
    SECTORS.len() - 1
}

fn name(seeded: &mut Seeded, sector: &Sector) -> String {
    let ending =
        if seeded.chance(0.45) { seeded.pick(sector.names) } else { seeded.pick(ANY_NAME) };
    let (first, second, form) = (seeded.pick(FIRST), seeded.pick(SECOND), seeded.pick(FORMS));
    let space = if ending.is_empty() { "" } else { " " };
    format!("{first}{second}{space}{ending}{form}")
}

fn description(seeded: &mut Seeded, sector: &Sector) -> String {
    if seeded.chance(0.04) {
        return seeded.pick(VAGUE).to_owned();
    }
    let mut text = format!("{}{}", seeded.pick(OPENERS), seeded.pick(sector.does));
    if seeded.chance(0.35) {
        text.push_str(", ");
        text.push_str(seeded.pick(sector.does));
    }
    // Most businesses do a little of something else.
    if seeded.chance(0.15) {
        text.push_str(", also ");
        let other = &SECTORS[draw(seeded)];
        text.push_str(seeded.pick(other.does));
    }
    text.push_str(seeded.pick(EXTRAS));
    if seeded.chance(0.12) {
        text = seeded.mistyped(&text);
    }
    text
}
