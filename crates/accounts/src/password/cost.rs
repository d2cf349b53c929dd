//! What a check of a password costs, and how a failure costs the same for every name.

use std::hint::black_box;
use std::str::FromStr;

use argon2::{Algorithm, Argon2, Version};
use sha_crypt::{sha256_crypt, sha512_crypt};
use yescrypt::Mode;

use super::form::{Unusable, can_be_password};
use super::scram::Keys;

/// Most memory of a hash, in units of 1024 bytes: 256 MiB.
const MAX_MEMORY_KIB: u32 = 256 * 1024;
/// Most memory times passes of Argon2id, in KiB: some seconds.
const MAX_ARGON2_WORK_KIB: u64 = 4 * 1024 * 1024;
/// Most lanes of Argon2id and most parallel parts of yescrypt, in threads that could compute them.
const MAX_LANES_THREADS: u32 = 16;
/// Most rounds of SHA-crypt: some seconds.
const MAX_SHA_ROUNDS: u32 = 5_000_000;
/// Rounds of SHA-crypt without `rounds=`, and fewest with it (crypt(5)).
const SHA_ROUNDS: u32 = 5_000;
const MIN_SHA_ROUNDS: u32 = 1_000;
/// Longest salt of SHA-crypt in bytes; what follows it does not count (crypt(5)).
const MAX_SHA_SALT: usize = 16;
/// Longest parameters of yescrypt in characters: `j9T` has three.
const MAX_YESCRYPT_PARAMETERS: usize = 6;

/// How a password is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `{PLAIN}`.
    Plain,
    /// `{SCRAM-SHA-256}`.
    Scram,
    /// `$5$`.
    Sha256,
    /// `$6$`.
    Sha512,
    /// `$y$`.
    Yescrypt,
    /// `$argon2id$`.
    Argon2id,
}

impl Scheme {
    /// All of them, the cheapest first.
    pub const ALL: [Scheme; 6] = [
        Scheme::Plain,
        Scheme::Scram,
        Scheme::Sha256,
        Scheme::Sha512,
        Scheme::Yescrypt,
        Scheme::Argon2id,
    ];
    /// The names of the schemes that [`super::hash()`] writes, for the help of `--scheme`.
    pub const NAMES: &str = "argon2id, sha512, yescrypt, scram or plain";

    /// Reads a name of [`Scheme::NAMES`].
    #[must_use]
    pub fn parse(name: &str) -> Option<Scheme> {
        match name {
            "plain" => Some(Scheme::Plain),
            "scram" => Some(Scheme::Scram),
            "sha512" => Some(Scheme::Sha512),
            "yescrypt" => Some(Scheme::Yescrypt),
            "argon2id" => Some(Scheme::Argon2id),
            _ => None,
        }
    }
}

/// What a check costs: the parameters of its scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// A comparison.
    Plain,
    /// PBKDF2 with HMAC-SHA-256.
    Scram {
        /// Rounds.
        iterations: u32,
    },
    /// SHA-crypt.
    ShaCrypt {
        /// SHA-512, not SHA-256.
        is_sha512: bool,
        /// Rounds.
        rounds: u32,
        /// Length of the salt in bytes: each round hashes it.
        salt: usize,
    },
    /// yescrypt, its flavour `j`.
    Yescrypt {
        /// Blocks of memory, a power of two.
        n: u64,
        /// Size of a block, in units of 128 bytes.
        r: u32,
        /// Parallel parts.
        p: u32,
    },
    /// Argon2id.
    Argon2id {
        /// Memory in KiB.
        memory: u32,
        /// Passes over the memory.
        passes: u32,
        /// Lanes.
        lanes: u32,
    },
}

impl Cost {
    /// Reads the parameters of a crypt(5) string.
    pub(super) fn of_crypt(text: &str) -> Result<Cost, Unusable> {
        if text.starts_with("$5$") || text.starts_with("$6$") {
            of_sha_crypt(text)
        } else if text.starts_with("$y$") {
            of_yescrypt(text)
        } else if text.starts_with("$argon2id$") {
            of_argon2(text)
        } else {
            Err(Unusable::Unknown)
        }
    }

    /// Returns the scheme whose cost this is.
    #[must_use]
    pub fn scheme(self) -> Scheme {
        match self {
            Cost::Plain => Scheme::Plain,
            Cost::Scram { .. } => Scheme::Scram,
            Cost::ShaCrypt { is_sha512: false, .. } => Scheme::Sha256,
            Cost::ShaCrypt { is_sha512: true, .. } => Scheme::Sha512,
            Cost::Yescrypt { .. } => Scheme::Yescrypt,
            Cost::Argon2id { .. } => Scheme::Argon2id,
        }
    }

    /// Returns the work in a unit of the scheme: rounds, or blocks of memory that are passed over.
    #[must_use]
    pub fn work(self) -> u64 {
        match self {
            Cost::Plain => 0,
            Cost::Scram { iterations } => iterations.into(),
            Cost::ShaCrypt { rounds, .. } => rounds.into(),
            Cost::Yescrypt { n, r, .. } => n * u64::from(r),
            Cost::Argon2id { memory, passes, .. } => u64::from(memory) * u64::from(passes),
        }
    }

    /// Computes what a check of this cost computes, with a salt that is no account's.
    pub fn spend(self, given: &[u8]) {
        if !can_be_password(given) {
            return; // refused at once for every name
        }
        match self {
            Cost::Plain => {}
            Cost::Scram { iterations } => {
                black_box(Keys::derive(given, &[0; MAX_SHA_SALT], iterations));
            }
            Cost::ShaCrypt { is_sha512, rounds, salt } => {
                let salt = vec![b'.'; salt.min(MAX_SHA_SALT)];
                let Ok(params) = sha_crypt::Params::new(rounds) else { return };
                if is_sha512 {
                    black_box(sha512_crypt(given, &salt, params));
                } else {
                    black_box(sha256_crypt(given, &salt, params));
                }
            }
            Cost::Yescrypt { n, r, p } => {
                let Ok(params) = yescrypt::Params::new(Mode::Rw, n, r, p) else { return };
                let _ = black_box(yescrypt::yescrypt(given, &[0; 16], &params, &mut [0; 32]));
            }
            Cost::Argon2id { memory, passes, lanes } => {
                let params = argon2::Params::new(memory, passes, lanes, None);
                let Ok(params) = params else { return };
                let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
                let _ = black_box(hasher.hash_password_into(given, &[0; 16], &mut [0; 32]));
            }
        }
    }

    /// Returns checks of the same scheme that together make up the work of this one, less the work that is `done`
    /// already, as nearly as the scheme's parameters allow.
    fn beyond(self, done: u64) -> Vec<Cost> {
        let left = self.work().saturating_sub(done);
        if left == self.work() {
            return vec![self];
        }
        match self {
            Cost::Plain => Vec::new(),
            Cost::Scram { .. } => {
                let iterations = u32::try_from(left).ok().filter(|left| *left > 0);
                iterations.map(|iterations| Cost::Scram { iterations }).into_iter().collect()
            }
            Cost::ShaCrypt { is_sha512, salt, .. } => {
                let rounds = u32::try_from(left).ok().filter(|left| *left >= MIN_SHA_ROUNDS / 2);
                let rounds = rounds.map(|rounds| rounds.max(MIN_SHA_ROUNDS));
                rounds
                    .map(|rounds| Cost::ShaCrypt { is_sha512, rounds, salt })
                    .into_iter()
                    .collect()
            }
            Cost::Yescrypt { r, .. } => powers_of_two(left / u64::from(r.max(1)))
                .map(|n| Cost::Yescrypt { n, r, p: 1 })
                .collect(),
            Cost::Argon2id { memory, lanes, .. } => {
                let whole = left / u64::from(memory.max(1));
                let rest = left % u64::from(memory.max(1));
                let passes = u32::try_from(whole).ok().filter(|whole| *whole > 0);
                let passes = passes.map(|passes| Cost::Argon2id { memory, passes, lanes });
                let rest = u32::try_from(rest).ok().filter(|rest| *rest >= 8 * lanes.max(1));
                let rest = rest.map(|memory| Cost::Argon2id { memory, passes: 1, lanes });
                passes.into_iter().chain(rest).collect()
            }
        }
    }
}

/// Returns the powers of two of which a number of blocks is the sum, without those that cost next to
/// nothing.
fn powers_of_two(blocks: u64) -> impl Iterator<Item = u64> {
    let smallest = (blocks / 64).max(4);
    (0..u64::BITS).rev().map(move |bit| blocks & (1 << bit)).filter(move |n| *n >= smallest)
}

/// `$6$[rounds=N$]salt$hash`
fn of_sha_crypt(text: &str) -> Result<Cost, Unusable> {
    let is_sha512 = text.starts_with("$6$");
    let mut fields = text.split('$').skip(2);
    let mut salt = fields.next().unwrap_or_default();
    let mut rounds = SHA_ROUNDS;
    if let Some(number) = salt.strip_prefix("rounds=") {
        rounds = u32::from_str(number).map_err(|_| Unusable::Malformed)?;
        salt = fields.next().unwrap_or_default();
    }
    let hash = fields.next().unwrap_or_default();
    let length = if is_sha512 { 86 } else { 43 };
    if salt.is_empty() || hash.len() != length || fields.next().is_some() {
        return Err(Unusable::Malformed);
    }
    if !(MIN_SHA_ROUNDS..=MAX_SHA_ROUNDS).contains(&rounds) {
        return Err(Unusable::TooDear);
    }
    Ok(Cost::ShaCrypt { is_sha512, rounds, salt: salt.len().min(MAX_SHA_SALT) })
}

/// `$y$parameters$salt$hash`
fn of_yescrypt(text: &str) -> Result<Cost, Unusable> {
    let mut fields = text.split('$').skip(2);
    let mut next = || fields.next().filter(|field| !field.is_empty()).ok_or(Unusable::Malformed);
    let (parameters, _salt, hash) = (next()?, next()?, next()?);
    if parameters.len() > MAX_YESCRYPT_PARAMETERS || hash.len() != 43 || fields.next().is_some() {
        return Err(Unusable::Malformed);
    }
    let params = yescrypt::Params::from_str(parameters).map_err(|_| Unusable::Malformed)?;
    let (n, r, p) = (params.n(), params.r(), params.p());
    // The usual flavour, without more time for the same memory: what the crate does not tell.
    if yescrypt::Params::new(Mode::Rw, n, r, p).ok() != Some(params) {
        return Err(Unusable::Unknown);
    }
    let kib = n.checked_mul(u64::from(r)).map(|blocks| blocks / 8);
    if kib.is_none_or(|kib| kib > MAX_MEMORY_KIB.into()) || p > MAX_LANES_THREADS {
        return Err(Unusable::TooDear);
    }
    Ok(Cost::Yescrypt { n, r, p })
}

/// `$argon2id$v=19$m=KiB,t=passes,p=lanes$salt$hash`
fn of_argon2(text: &str) -> Result<Cost, Unusable> {
    let fields: Vec<_> = text.split('$').skip(2).collect();
    let [_version, parameters, _salt, _hash] = fields[..] else { return Err(Unusable::Malformed) };
    let mut parameters = parameters.split(',');
    let mut next = |name: &str| {
        let digits = parameters.next().and_then(|parameter| parameter.strip_prefix(name));
        digits.and_then(|digits| u32::from_str(digits).ok()).ok_or(Unusable::Malformed)
    };
    let (memory, passes, lanes) = (next("m=")?, next("t=")?, next("p=")?);
    let cost = Cost::Argon2id { memory, passes, lanes };
    let is_bounded = memory <= MAX_MEMORY_KIB && cost.work() <= MAX_ARGON2_WORK_KIB;
    if !is_bounded || lanes > MAX_LANES_THREADS {
        return Err(Unusable::TooDear);
    }
    argon2::Params::new(memory, passes, lanes, None).map_err(|_| Unusable::Malformed)?;
    Ok(cost)
}

/// The dearest field of each scheme among all accounts.
///
/// A failed login computes, for each scheme that some account has, the work of its dearest field: the
/// account's own field counts towards it, the rest is computed with a salt that is no account's. So
/// the work is the same for every name, known or not, whatever its scheme and rounds; where all
/// accounts have one scheme, it is that of the dearest field alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dearest([Option<Cost>; Scheme::ALL.len()]);

impl Dearest {
    /// Notes the cost of one account's field.
    pub fn note(&mut self, cost: Cost) {
        if let Some(dearest) = self.0.get_mut(cost.scheme() as usize) {
            let is_dearer = dearest.is_none_or(|known| known.work() < cost.work());
            *dearest = if is_dearer { Some(cost) } else { *dearest };
        }
    }

    /// Returns the dearest cost of a scheme; `None` where no account has one.
    #[must_use]
    pub fn of(&self, scheme: Scheme) -> Option<Cost> {
        self.0.get(scheme as usize).copied().flatten()
    }

    /// Returns what a failure has still to compute after a check of cost `own`.
    #[must_use]
    pub fn beyond(&self, own: Option<Cost>) -> Vec<Cost> {
        let done = |cost: &Cost| match own {
            Some(own) if own.scheme() == cost.scheme() => own.work(),
            _ => 0,
        };
        self.0.iter().flatten().flat_map(|cost| cost.beyond(done(cost))).collect()
    }

    /// Computes what a failure has still to compute after a check of cost `own`.
    pub fn spend(&self, own: Option<Cost>, given: &[u8]) {
        self.beyond(own).into_iter().for_each(|cost| cost.spend(given));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(costs: &[Cost], scheme: Scheme) -> u64 {
        costs.iter().filter(|cost| cost.scheme() == scheme).map(|cost| cost.work()).sum()
    }

    #[test]
    fn a_failure_costs_the_same_work_whatever_the_field() {
        let sha512 = |rounds| Cost::ShaCrypt { is_sha512: true, rounds, salt: 8 };
        let yescrypt = |n| Cost::Yescrypt { n, r: 32, p: 1 };
        let argon2id = |memory, passes| Cost::Argon2id { memory, passes, lanes: 1 };
        let scram = |iterations| Cost::Scram { iterations };
        let all = [
            Cost::Plain,
            sha512(5_000),
            sha512(200_000),
            sha512(1_000),
            Cost::ShaCrypt { is_sha512: false, rounds: 7_000, salt: 16 },
            yescrypt(4096),
            yescrypt(1024),
            yescrypt(16_384),
            argon2id(19_456, 2),
            argon2id(65_536, 3),
            argon2id(4_096, 1),
            scram(4096),
            scram(15_000),
        ];
        let mut dearest = Dearest::default();
        all.iter().for_each(|cost| dearest.note(*cost));
        assert_eq!(dearest.of(Scheme::Sha512), Some(sha512(200_000)));
        assert_eq!(dearest.of(Scheme::Argon2id), Some(argon2id(65_536, 3)));
        for own in all.iter().copied().map(Some).chain([None]) {
            let mut spent = dearest.beyond(own);
            spent.extend(own);
            for scheme in Scheme::ALL {
                let expected = dearest.of(scheme).unwrap().work();
                let actual = sum(&spent, scheme);
                assert!(actual <= expected, "{own:?} {scheme:?}: {actual} of {expected}");
                assert!(expected - actual <= expected / 50, "{own:?} {scheme:?}: {actual}");
            }
        }
    }

    #[test]
    fn only_what_some_account_has_is_computed() {
        assert!(Dearest::default().beyond(None).is_empty());
        let mut dearest = Dearest::default();
        let cost = Cost::ShaCrypt { is_sha512: true, rounds: 5_000, salt: 8 };
        dearest.note(cost);
        assert!(dearest.beyond(Some(cost)).is_empty());
        assert_eq!(dearest.beyond(None), [cost]);
        assert_eq!(dearest.beyond(Some(Cost::Plain)), [cost]);
    }

    #[test]
    fn what_is_computed_in_place_of_a_check_has_valid_parameters() {
        for cost in [
            Cost::Yescrypt { n: 4, r: 32, p: 1 },
            Cost::Argon2id { memory: 8, passes: 1, lanes: 1 },
        ] {
            match cost {
                Cost::Yescrypt { n, r, p } => {
                    let params = yescrypt::Params::new(Mode::Rw, n, r, p).unwrap();
                    assert!(yescrypt::yescrypt(b"a", &[0; 16], &params, &mut [0; 32]).is_ok());
                }
                Cost::Argon2id { memory, passes, lanes } => {
                    assert!(argon2::Params::new(memory, passes, lanes, None).is_ok());
                }
                _ => unreachable!(),
            }
            cost.spend(b"given");
            cost.spend(b"");
        }
    }
}
