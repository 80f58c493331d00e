//! Each fuzz target on its seeds and on mutations of them, always the same ones. The long runs are `cargo xtask fuzz`.

use lpwad_fuzz_targets::TARGETS;
use std::path::Path;

/// Mutations of each target.
const MUTATIONS: usize = 1_000;

/// SplitMix64 (Steele, Lea, Flood, 2014).
struct Rng(u64);

impl Rng {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 33) as usize % limit.max(1)
    }
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
    let mut files: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// A few bytes changed, cut, doubled, or taken from another seed.
fn mutated(rng: &mut Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seeds[rng.below(seeds.len())].clone();
    for _ in 0..=rng.below(4) {
        let at = rng.below(bytes.len() + 1);
        match rng.below(6) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, rng.below(256) as u8),
            2 if at < bytes.len() => bytes[at] ^= 1 << rng.below(8),
            3 if at < bytes.len() => bytes[at] = [0, 0x7f, 0x80, 0xff, b'"', b'{'][rng.below(6)],
            4 => {
                let other = &seeds[rng.below(seeds.len())];
                let from = rng.below(other.len() + 1);
                bytes.splice(at.., other[from..].iter().copied());
            }
            _ => {
                let end = at + rng.below(bytes.len() - at + 1);
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
        }
        bytes.truncate(4096);
    }
    bytes
}

#[test]
fn every_target_bears_its_seeds_and_a_thousand_mutations() {
    for (name, run) in TARGETS {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for seed in &seeds {
            run(seed);
        }
        let mut rng = Rng(7);
        for number in 0..MUTATIONS {
            let bytes = mutated(&mut rng, &seeds);
            if let Err(panic) = std::panic::catch_unwind(|| run(&bytes)) {
                eprintln!("{name}, mutation {number}: {}", lpwad_link::hex::encode(&bytes));
                std::panic::resume_unwind(panic);
            }
        }
    }
}

#[test]
fn the_gateway_gets_every_kind_of_input() {
    assert_eq!(lpwad_fuzz_targets::gateway_input::kinds_not_given(), [0; 0]);
}

#[test]
fn the_seeds_of_the_gateway_reach_what_lies_behind_a_registration() {
    let kinds = seeds("gateway_input").into_iter().map(|seed| lpwad_fuzz_targets::gateway_input::kinds_said(&seed));
    let said: std::collections::BTreeSet<&str> = kinds.flatten().collect();
    let wanted = [
        "node-joining",
        "registered",
        "observed",
        "write-accepted",
        "downlink-sent",
        "session-opened",
        "backlog-delivered",
    ];
    let missing: Vec<_> = wanted.iter().filter(|kind| !said.contains(**kind)).collect();
    assert!(missing.is_empty(), "{missing:?} not among {said:?}");
}

#[test]
fn every_target_is_known_to_the_fuzzer() {
    let manifest =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/Cargo.toml")).unwrap();
    for (name, _) in TARGETS {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "fuzz/Cargo.toml lacks {name}");
    }
    assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
}
