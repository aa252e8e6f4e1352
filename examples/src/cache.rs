//! A cache in the process whose entries expire.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// Keeps one value per key for a while.
///
/// When a value has expired, the first request that wants it loads it and the others wait for that
/// one load: no stampede on the database. The keys are given in advance, so it can't grow.
pub struct ExpiringCache<K, V> {
    time_to_live: Duration,
    slots: HashMap<K, Slot<V>>,
}

struct Slot<V> {
    entry: RwLock<Option<Entry<V>>>,
    /// Held while loading.
    loading: Mutex<()>,
}

struct Entry<V> {
    value: Arc<V>,
    expires: Instant,
}

impl<K: Eq + Hash, V> ExpiringCache<K, V> {
    /// An empty cache for these keys.
    pub fn new(keys: impl IntoIterator<Item = K>, time_to_live: Duration) -> Self {
        let slot = || Slot { entry: RwLock::new(None), loading: Mutex::new(()) };
        Self { time_to_live, slots: keys.into_iter().map(|key| (key, slot())).collect() }
    }

    /// The value of the key, loaded if there is none or it has expired. A key that was not given
    /// in advance is loaded each time. An error is not kept.
    pub async fn get_or_load<E, F>(&self, key: &K, load: impl FnOnce() -> F) -> Result<Arc<V>, E>
    where
        F: Future<Output = Result<V, E>>,
    {
        let Some(slot) = self.slots.get(key) else { return load().await.map(Arc::new) };
        if let Some(value) = slot.fresh() {
            return Ok(value);
        }
        let _loading = slot.loading.lock().await;
        // Another request may have loaded it while this one waited.
        if let Some(value) = slot.fresh() {
            return Ok(value);
        }
        let value = Arc::new(load().await?);
        slot.store(Entry { value: value.clone(), expires: Instant::now() + self.time_to_live });
        Ok(value)
    }
}

impl<V> Slot<V> {
    fn fresh(&self) -> Option<Arc<V>> {
        let entry = self.entry.read().unwrap_or_else(PoisonError::into_inner);
        entry.as_ref().filter(|entry| Instant::now() < entry.expires).map(|e| e.value.clone())
    }

    fn store(&self, entry: Entry<V>) {
        *self.entry.write().unwrap_or_else(PoisonError::into_inner) = Some(entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    const TTL: Duration = Duration::from_secs(10);

    /// Answers how often it was asked, after a while.
    #[derive(Default)]
    struct Source(AtomicU32);

    impl Source {
        async fn load(&self) -> Result<u32, Infallible> {
            let nth = self.0.fetch_add(1, Relaxed) + 1;
            tokio::time::sleep(Duration::from_millis(5)).await;
            Ok(nth)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_is_kept_until_it_expires() {
        let (cache, source) = (ExpiringCache::new(["a", "b"], TTL), Source::default());
        let get = async |key| *cache.get_or_load(&key, || source.load()).await.unwrap();
        assert_eq!((get("a").await, get("a").await), (1, 1));
        assert_eq!(get("b").await, 2, "keys do not share values");
        tokio::time::advance(Duration::from_millis(9_990)).await;
        assert_eq!(get("a").await, 1);
        tokio::time::advance(Duration::from_millis(10)).await;
        assert_eq!((get("a").await, get("a").await), (3, 3));
        assert_eq!((get("other").await, get("other").await), (4, 5), "unknown keys are not kept");
    }

    #[tokio::test(start_paused = true)]
    async fn requests_that_miss_together_load_once() {
        let (cache, source) = (ExpiringCache::new([()], TTL), Source::default());
        let get = async || *cache.get_or_load(&(), || source.load()).await.unwrap();
        for round in 1..=2 {
            assert_eq!(tokio::join!(get(), get(), get()), (round, round, round));
            tokio::time::advance(TTL).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_failed_or_cancelled_load_the_next_request_loads() {
        let (cache, source) = (ExpiringCache::new([()], TTL), Source::default());
        assert_eq!(cache.get_or_load(&(), async || Err("down")).await, Err("down"));
        let cancelled = cache.get_or_load(&(), || source.load());
        assert!(tokio::time::timeout(Duration::from_millis(1), cancelled).await.is_err());
        assert_eq!(*cache.get_or_load(&(), || source.load()).await.unwrap(), 2);
    }
}
