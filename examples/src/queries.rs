//! What the service asks the catalogue. All of it blocks; [`Database`](crate::database::Database)
//! runs it where blocking is allowed.

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;

/// A customer of the wholesaler, by its ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tenant(pub u32);

/// What a tenant may see: its categories in alphabetical order.
#[derive(Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Whitelist {
    /// The categories; those without a product that the tenant may buy are left out.
    pub categories: Vec<Category>,
}

/// A category as one tenant sees it.
#[derive(Debug, PartialEq, Serialize)]
pub struct Category {
    /// The ID.
    pub id: u32,
    /// The name.
    pub name: String,
    /// Products in stock within the tenant's price limit, at least one.
    pub products: u32,
    /// The lowest price among them.
    pub from_cents: u32,
    /// The tenant's price limit.
    pub max_price_cents: u32,
}

/// A product with all that is known of it.
#[derive(Debug, PartialEq, Serialize)]
pub struct Product {
    id: u32,
    sku: String,
    name: String,
    brand: String,
    price_cents: u32,
    stock: u32,
    rating: f64,
    description: String,
}

impl Whitelist {
    /// The category with this ID, if the tenant may see it.
    pub fn category(&self, id: u32) -> Option<&Category> {
        self.categories.iter().find(|category| category.id == id)
    }
}

/// What a tenant may see. This is the costly query: it counts every product of every category on
/// the whitelist, about a sixth of the catalogue.
pub fn whitelist(connection: &Connection, tenant: Tenant) -> rusqlite::Result<Whitelist> {
    let sql = "
        SELECT category.id, category.name, count(*), min(product.price_cents),
               whitelist.max_price_cents
        FROM whitelist
        JOIN category ON category.id = whitelist.category_id
        JOIN product ON product.category_id = whitelist.category_id
                    AND product.price_cents <= whitelist.max_price_cents
                    AND product.stock > 0
        WHERE whitelist.tenant_id = ?
        GROUP BY category.id
        ORDER BY category.name, category.id";
    let category = |row: &Row<'_>| {
        Ok(Category {
            id: row.get(0)?,
            name: row.get(1)?,
            products: row.get(2)?,
            from_cents: row.get(3)?,
            max_price_cents: row.get(4)?,
        })
    };
    let mut query = connection.prepare_cached(sql)?;
    let categories = query.query_map([tenant.0], category)?.collect::<Result<_, _>>()?;
    Ok(Whitelist { categories })
}

/// The cheapest products of a category that are in stock within a price limit.
pub fn products(
    connection: &Connection,
    category: u32,
    max_price_cents: u32,
    limit: u32,
) -> rusqlite::Result<Vec<Product>> {
    let sql = "
        SELECT id, sku, name, brand, price_cents, stock, rating, description FROM product
        WHERE category_id = ? AND price_cents <= ? AND stock > 0
        ORDER BY price_cents LIMIT ?";
    let mut query = connection.prepare_cached(sql)?;
    query.query_map(params![category, max_price_cents, limit], product_of)?.collect()
}

/// The product with this ID.
pub fn product(connection: &Connection, id: u32) -> rusqlite::Result<Option<Product>> {
    let sql = "SELECT id, sku, name, brand, price_cents, stock, rating, description FROM product
               WHERE id = ?";
    connection.prepare_cached(sql)?.query_row([id], product_of).optional()
}

/// The newest products, for partners that import them.
pub fn newest(connection: &Connection, limit: u32) -> rusqlite::Result<Vec<Product>> {
    let sql = "SELECT id, sku, name, brand, price_cents, stock, rating, description FROM product
               ORDER BY id DESC LIMIT ?";
    connection.prepare_cached(sql)?.query_map([limit], product_of)?.collect()
}

fn product_of(row: &Row<'_>) -> rusqlite::Result<Product> {
    Ok(Product {
        id: row.get(0)?,
        sku: row.get(1)?,
        name: row.get(2)?,
        brand: row.get(3)?,
        price_cents: row.get(4)?,
        stock: row.get(5)?,
        rating: row.get(6)?,
        description: row.get(7)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{Scale, create};

    fn catalogue() -> (tempfile::TempDir, Connection) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("catalogue.db");
        create(&file, Scale { products: 2_000, categories: 24, tenants: 3 }).unwrap();
        (folder, Connection::open(file).unwrap())
    }

    #[test]
    fn the_whitelist_counts_what_the_listing_shows() {
        let (_folder, connection) = catalogue();
        for tenant in [1, 2, 3].map(Tenant) {
            let whitelist = whitelist(&connection, tenant).unwrap();
            assert!((4..=12).contains(&whitelist.categories.len()), "{whitelist:?}");
            for category in &whitelist.categories {
                let products =
                    products(&connection, category.id, category.max_price_cents, 10_000).unwrap();
                assert_eq!(products.len(), category.products as usize);
                assert_eq!(products[0].price_cents, category.from_cents);
                assert!(products.iter().all(|product| product.stock > 0));
                assert!(products.is_sorted_by_key(|product| product.price_cents));
                assert!(products.last().unwrap().price_cents <= category.max_price_cents);
            }
        }
        assert_eq!(whitelist(&connection, Tenant(4)).unwrap().categories, []);
    }

    #[test]
    fn tenants_see_different_categories() {
        let (_folder, connection) = catalogue();
        let [first, second] = [1, 2].map(|id| whitelist(&connection, Tenant(id)).unwrap());
        assert_ne!(first, second);
        let unseen = (1..=24).find(|&id| first.category(id).is_none()).unwrap();
        assert!(first.categories.iter().all(|category| category.id != unseen));
    }

    #[test]
    fn products_are_found_by_their_id() {
        let (_folder, connection) = catalogue();
        assert_eq!(product(&connection, 1).unwrap().unwrap().id, 1);
        assert_eq!(product(&connection, 2_001).unwrap(), None);
        let newest = newest(&connection, 3).unwrap();
        assert_eq!(
            newest.iter().map(|product| product.id).collect::<Vec<_>>(),
            [2_000, 1_999, 1_998]
        );
    }

    #[test]
    fn the_same_scale_gives_the_same_catalogue() {
        let [(_a, first), (_b, second)] = [catalogue(), catalogue()];
        assert_eq!(newest(&first, 50).unwrap(), newest(&second, 50).unwrap());
    }
}
