use rand::RngExt;

use crate::latency::normal;
use crate::random::Random;
use crate::traffic::Request;

/// Users who are active at the same time.
const ACTIVE: usize = 256;

/// Requests of one user.
pub const REQUESTS_PER_USER: u32 = 20;

/// Standard deviation of the logarithm, between users and between the requests of one.
const BETWEEN: f64 = 0.4;
const WITHIN: f64 = 0.5;

/// Random groups that users are hashed to.
pub const GROUPS: usize = 32;

/// Requests of users who each stay in one arm, and whose requests resemble each other.
#[derive(Debug)]
pub struct Sessions {
    users: Vec<User>,
    random: Random,
}

#[derive(Debug)]
struct User {
    arm: usize,
    group: usize,
    log_median: f64,
    left: u32,
}

impl User {
    fn new(random: &mut Random) -> Self {
        Self {
            arm: usize::from(random.random::<bool>()),
            group: random.random_range(0..GROUPS),
            log_median: BETWEEN * normal(random),
            left: REQUESTS_PER_USER,
        }
    }
}

impl Sessions {
    /// Begins a stream, in the middle of the first users' sessions.
    pub fn new(mut random: Random) -> Self {
        let mut user = || {
            let left = random.random_range(1..=REQUESTS_PER_USER);
            User { left, ..User::new(&mut random) }
        };
        Self { users: (0..ACTIVE).map(|_| user()).collect(), random }
    }

    /// The next request, with its user's group.
    pub fn request(&mut self) -> (Request, usize) {
        let Self { users, random } = self;
        let user = &mut users[random.random_range(0..ACTIVE)];
        let log_latency = user.log_median + WITHIN * normal(random);
        let request = Request { log_latency, arm: user.arm, failed: false };
        let group = user.group;
        user.left -= 1;
        if user.left == 0 {
            *user = User::new(random);
        }
        (request, group)
    }
}
