//! Generates the catalogue of a wholesaler: products in categories, and for each tenant the
//! categories and prices that its contract allows it to see.

use std::path::Path;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rusqlite::{Connection, Transaction, params};

/// How large the catalogue is. Its contents follow from this alone, so that runs compare.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Products; their IDs are 1 to this.
    pub products: u32,
    /// Categories; their IDs are 1 to this. The first are the largest. With 6 or more, each tenant
    /// sees one.
    pub categories: u32,
    /// Tenants; their IDs are 1 to this.
    pub tenants: u32,
}

impl Default for Scale {
    fn default() -> Self {
        Self { products: 120_000, categories: 240, tenants: 8 }
    }
}

const SCHEMA: &str = "
    CREATE TABLE category (id INTEGER PRIMARY KEY, department TEXT NOT NULL, name TEXT NOT NULL);
    CREATE TABLE product (
        id INTEGER PRIMARY KEY, category_id INTEGER NOT NULL, sku TEXT NOT NULL,
        name TEXT NOT NULL, brand TEXT NOT NULL, price_cents INTEGER NOT NULL,
        stock INTEGER NOT NULL, rating REAL NOT NULL, description TEXT NOT NULL
    );
    CREATE TABLE whitelist (
        tenant_id INTEGER NOT NULL, category_id INTEGER NOT NULL, max_price_cents INTEGER NOT NULL,
        PRIMARY KEY (tenant_id, category_id)
    ) WITHOUT ROWID;";

// After the rows: building an index at once is faster than keeping it up to date.
const INDEXES: &str = "
    CREATE INDEX product_by_category ON product (category_id, price_cents, stock);
    ANALYZE;";

const DEPARTMENTS: [&str; 12] = [
    "Audio", "Bath", "Cycling", "Garden", "Kitchen", "Lighting", "Office", "Outdoor", "Pets",
    "Storage", "Tools", "Toys",
];
const KINDS: [&str; 20] = [
    "Adapters", "Bags", "Boxes", "Brackets", "Brushes", "Cables", "Cases", "Covers", "Filters",
    "Holders", "Hooks", "Lamps", "Mats", "Pumps", "Racks", "Sets", "Stands", "Timers", "Trays",
    "Wipes",
];
const BRANDS: [&str; 8] =
    ["Arvid", "Bellmark", "Corvo", "Dunlin", "Eikely", "Fjordhus", "Grenn", "Halden"];
const TRAITS: [&str; 10] = [
    "Compact",
    "Folding",
    "Heavy-Duty",
    "Insulated",
    "Modular",
    "Quiet",
    "Rugged",
    "Slim",
    "Stackable",
    "Waterproof",
];

/// Creates the database file in one transaction. Returns its size in bytes.
pub fn create(path: &Path, scale: Scale) -> rusqlite::Result<i64> {
    let mut connection = Connection::open(path)?;
    // Nobody needs the file after a crash, so nothing has to be synced.
    connection.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(SCHEMA)?;
    let mut rng = StdRng::seed_from_u64(0);
    insert_categories(&transaction, scale)?;
    insert_products(&transaction, scale, &mut rng)?;
    insert_whitelist(&transaction, scale, &mut rng)?;
    transaction.execute_batch(INDEXES)?;
    transaction.commit()?;
    let bytes = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";
    connection.query_row(bytes, [], |row| row.get(0))
}

fn insert_categories(transaction: &Transaction<'_>, scale: Scale) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare("INSERT INTO category VALUES (?, ?, ?)")?;
    for id in 1..=scale.categories {
        let (department, kind) = names_of(id);
        insert.execute(params![id, department, format!("{department} {kind}")])?;
    }
    Ok(())
}

fn insert_products(
    transaction: &Transaction<'_>,
    scale: Scale,
    rng: &mut StdRng,
) -> rusqlite::Result<()> {
    let columns = "INSERT INTO product VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let mut insert = transaction.prepare(columns)?;
    let shares = cumulated_shares(scale.categories);
    for id in 1..=scale.products {
        let point = rng.random::<f64>();
        let rank = shares.partition_point(|&share| share < point).min(shares.len() - 1);
        let category = 1 + rank as u32;
        let (department, kind) = names_of(category);
        let (brand, first, second) = (pick(rng, &BRANDS), pick(rng, &TRAITS), pick(rng, &TRAITS));
        let model = rng.random_range(100..1_000);
        let description = describe(rng, [brand, first, second, department, kind]);
        insert.execute(params![
            id,
            category,
            format!("{}-{id:07}", &brand[..3].to_uppercase()),
            format!("{brand} {first} {kind} {model}"),
            brand,
            price_cents(rng, 3_000.0),
            // About one in eight is sold out.
            rng.random_range(-5_i32..40).max(0),
            f64::from(rng.random_range(20..=50)) / 10.0,
            description,
        ])?;
    }
    Ok(())
}

/// A tenant sees about a sixth of the categories, up to a price that its contract sets
/// for each.
fn insert_whitelist(
    transaction: &Transaction<'_>,
    scale: Scale,
    rng: &mut StdRng,
) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare("INSERT INTO whitelist VALUES (?, ?, ?)")?;
    for tenant in 1..=scale.tenants {
        for category in 1..=scale.categories {
            // Spread evenly, so that each tenant sees large categories and small ones.
            if (category + tenant) % 6 == 0 || rng.random_ratio(1, 40) {
                insert.execute(params![tenant, category, price_cents(rng, 12_000.0)])?;
            }
        }
    }
    Ok(())
}

fn names_of(category: u32) -> (&'static str, &'static str) {
    let index = category as usize - 1;
    (
        DEPARTMENTS[index % DEPARTMENTS.len()],
        KINDS[(index / DEPARTMENTS.len() + index) % KINDS.len()],
    )
}

/// Sizes of categories fall off as in a real assortment: the largest has several thousand
/// products, most have a few hundred.
fn cumulated_shares(categories: u32) -> Vec<f64> {
    let weights = (0..categories).map(|rank| 1.0 / (f64::from(rank) + 10.0));
    let total: f64 = weights.clone().sum();
    weights
        .scan(0.0, |sum, weight| {
            *sum += weight / total;
            Some(*sum)
        })
        .collect()
}

fn pick<'a>(rng: &mut StdRng, words: &[&'a str]) -> &'a str {
    words[rng.random_range(0..words.len())]
}

fn describe(rng: &mut StdRng, [brand, first, second, department, kind]: [&str; 5]) -> String {
    let (department, kind) = (department.to_lowercase(), kind.to_lowercase());
    let (per_box, weight, years) =
        (rng.random_range(1..=24), rng.random_range(80..4_000), rng.random_range(1..=5));
    format!(
        "{first} {kind} for {department} use, in a {} version that lasts. {brand} makes them in \
         small series and checks every piece by hand before it leaves the workshop. Delivered \
         {per_box} to a box, {weight} g each, in packaging that is free of plastic, with mounting \
         material and a printed guide in six languages. {years} years of warranty; spare parts are \
         kept in stock for ten more. Fits all {department} systems \
         that we sell; an adapter for older ones is available separately, as are matching colours.",
        second.to_lowercase(),
    )
}

/// A price around this median, as long-tailed as prices are.
fn price_cents(rng: &mut StdRng, median: f64) -> u32 {
    // The sum of four uniform numbers is close enough to a normal one.
    let deviation: f64 = (0..4).map(|_| rng.random::<f64>() - 0.5).sum();
    (median * (deviation * 1.5).exp()).round() as u32
}
