//! What threads share: of the standard library, or of loom, which tries all their interleavings.

#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
#[cfg(not(loom))]
pub(crate) use std::sync::{Mutex, MutexGuard, OnceLock};
#[cfg(not(loom))]
pub(crate) use std::thread_local as local_to_thread;

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
#[cfg(loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard};
#[cfg(loom)]
pub(crate) use once::OnceLock;

#[cfg(loom)]
macro_rules! local_to_thread {
    ($($(#[$meta:meta])* static $name:ident: $type:ty = const { $init:expr };)*) => {
        loom::thread_local! { $($(#[$meta])* static $name: $type = $init;)* }
    };
}
#[cfg(loom)]
pub(crate) use local_to_thread;

#[cfg(loom)]
mod once {
    use loom::sync::atomic::AtomicBool;
    use loom::sync::atomic::Ordering::{Acquire, Release};

    /// Loom has none. In this crate only one thread at a time ever initializes one.
    #[derive(Default)]
    pub(crate) struct OnceLock<T> {
        value: std::sync::OnceLock<T>,
        published: AtomicBool,
    }

    impl<T> OnceLock<T> {
        pub(crate) fn new() -> Self {
            Self { value: std::sync::OnceLock::new(), published: AtomicBool::new(false) }
        }

        pub(crate) fn get(&self) -> Option<&T> {
            self.published.load(Acquire).then(|| self.value.get())?
        }

        pub(crate) fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
            let value = self.value.get_or_init(make);
            self.published.store(true, Release);
            value
        }
    }
}
