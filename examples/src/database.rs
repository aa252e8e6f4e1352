//! The catalogue for async code: queries run on blocking threads, over a few connections.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::catalogue::{self, Scale};
use crate::closing::grouped;
use crate::queries::{self, Tenant, Whitelist};

/// Connections of a service: more queries at once would only share the same few cores.
const CONNECTIONS: usize = 4;

/// The catalogue. Cloning it shares its connections.
#[derive(Clone)]
pub struct Database {
    pool: Arc<Pool>,
    tenants: u32,
}

struct Pool {
    /// As many permits as connections: who holds one finds a connection.
    permits: Semaphore,
    idle: Mutex<Vec<Connection>>,
}

impl Database {
    /// Generates the catalogue and opens it, and says so on standard output.
    pub fn create(file: &Path, scale: Scale) -> rusqlite::Result<Self> {
        let begin = Instant::now();
        let bytes = catalogue::create(file, scale)?;
        let Scale { products, categories, tenants } = scale;
        println!(
            "Catalogue  {} products in {categories} categories for {tenants} tenants, {} MB of \
             SQLite, created in {:.1} s",
            grouped(products.into()),
            bytes / 1_000_000,
            begin.elapsed().as_secs_f64(),
        );
        Self::open(file, CONNECTIONS)
    }

    /// Opens the catalogue with this many connections.
    pub fn open(file: &Path, connections: usize) -> rusqlite::Result<Self> {
        let open = || {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(file, flags)?;
            // The file fits into memory: read it there, not through a cache per connection.
            connection.pragma_update(None, "mmap_size", 256 << 20)?;
            Ok(connection)
        };
        let idle = (0..connections).map(|_| open()).collect::<rusqlite::Result<Vec<_>>>()?;
        let count = "SELECT count(DISTINCT tenant_id) FROM whitelist";
        let tenants = open()?.query_row(count, [], |row| row.get(0))?;
        let pool = Pool { permits: Semaphore::new(connections), idle: Mutex::new(idle) };
        Ok(Self { pool: Arc::new(pool), tenants })
    }

    /// The tenant with this ID, if there is one.
    pub fn tenant(&self, id: u32) -> Option<Tenant> {
        (1..=self.tenants).contains(&id).then_some(Tenant(id))
    }

    /// All tenants.
    pub fn tenants(&self) -> impl Iterator<Item = Tenant> + use<> {
        (1..=self.tenants).map(Tenant)
    }

    /// What a tenant may see: the costly query.
    pub async fn whitelist(&self, tenant: Tenant) -> rusqlite::Result<Whitelist> {
        self.run(move |connection| queries::whitelist(connection, tenant)).await
    }

    /// Runs a query on a blocking thread, as soon as a connection is free.
    ///
    /// # Panics
    ///
    /// When the query does.
    pub async fn run<T, F>(&self, query: F) -> T
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> T + Send + 'static,
    {
        let pool = Arc::clone(&self.pool);
        let work = {
            let permit = self.pool.permits.acquire().await.expect("the semaphore is never closed");
            // The query goes on when the request is cancelled, and the connection is taken until
            // then: the blocking thread gives the permit back, not this future.
            permit.forget();
            tokio::task::spawn_blocking(move || Lease::new(pool).with(query))
        };
        work.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }
}

/// A connection that returns to its pool, however the query ends.
struct Lease {
    pool: Arc<Pool>,
    connection: Option<Connection>,
}

impl Lease {
    fn new(pool: Arc<Pool>) -> Self {
        let connection = pool.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Self { pool, connection }
    }

    fn with<T>(&self, query: impl FnOnce(&Connection) -> T) -> T {
        query(self.connection.as_ref().expect("a permit stands for a connection"))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(self.connection.take());
        self.pool.permits.add_permits(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_come_back_from_cancelled_and_panicked_queries() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("catalogue.db");
        catalogue::create(&file, Scale { products: 100, categories: 12, tenants: 2 }).unwrap();
        let database = Database::open(&file, 1).unwrap();
        assert_eq!(database.tenants().collect::<Vec<_>>(), [Tenant(1), Tenant(2)]);
        assert_eq!((database.tenant(2), database.tenant(3)), (Some(Tenant(2)), None));

        let asking = database.clone();
        let panics = tokio::spawn(async move { asking.run(|_| panic!("on purpose")).await });
        assert!(panics.await.is_err());
        for _ in 0..3 {
            // Polled once, then dropped.
            tokio::select! {
                biased;
                _ = database.whitelist(Tenant(1)) => {}
                () = std::future::ready(()) => {}
            }
        }
        assert!(database.whitelist(Tenant(1)).await.is_ok());
    }
}
