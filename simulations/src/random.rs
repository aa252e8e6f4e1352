use latency_experiment_stats::Error;
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;
use rayon::prelude::*;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The generator of all simulations. Its values are fixed by its authors, so that a seed means the same
/// numbers on every machine and in every version of the crate.
pub type Random = Xoshiro256PlusPlus;

/// Independent repetitions of one simulation.
#[derive(Debug, Clone, Copy)]
pub struct Runs {
    /// The seed given on the command line.
    pub seed: u64,
    /// How many repetitions.
    pub count: usize,
}

impl Runs {
    /// The results of all runs, in order. They run in parallel; each has its own generator, which depends
    /// on the seed, the name of the setting and the number of the run only.
    pub fn map<T: Send>(
        self,
        setting: &str,
        run: impl Fn(Random) -> Result<T, Error> + Sync,
    ) -> Result<Vec<T>, Error> {
        let generator = |index| self.generator(setting, index);
        (0..self.count).into_par_iter().map(|index| run(generator(index))).collect()
    }

    /// The generator of one run.
    pub fn generator(self, setting: &str, run: usize) -> Random {
        Random::seed_from_u64(xxh3_64_with_seed(format!("{setting}/{run}").as_bytes(), self.seed))
    }

    /// In which share of the runs each of `N` things happened.
    pub fn shares<const N: usize>(
        self,
        setting: &str,
        run: impl Fn(Random) -> Result<[bool; N], Error> + Sync,
    ) -> Result<[f64; N], Error> {
        let mut counts = [0_usize; N];
        for happened in self.map(setting, run)? {
            for (count, happened) in counts.iter_mut().zip(happened) {
                *count += usize::from(happened);
            }
        }
        Ok(counts.map(|count| count as f64 / self.count as f64))
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;

    #[test]
    fn a_run_is_a_function_of_seed_setting_and_number() {
        let draws = |seed, setting: &str| {
            Runs { seed, count: 3 }.map(setting, |mut random| Ok(random.random::<u64>())).unwrap()
        };
        assert_eq!(draws(1, "a"), draws(1, "a"));
        assert_ne!(draws(1, "a"), draws(2, "a"));
        assert_ne!(draws(1, "a"), draws(1, "b"));
        // Pinned: a change of the generator would silently change every published figure.
        assert_eq!(draws(1, "a")[0], 9_384_461_893_401_251_396);
    }
}
