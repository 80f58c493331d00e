//! The database of the store on a storage that forgets what was not synchronised: the power goes at every write.

use lpwad::io::database::Database;
use lpwad_week::medium::{Left, Medium, Operation, apply};
use lpwad_week::{Kept, Settings, Weather, run, starts};
use std::sync::Arc;
use std::time::Duration;

const NODES: usize = 4;

/// What the database has on a storage with these bytes.
fn load(bytes: Vec<u8>) -> Result<Kept, String> {
    let seal = Arc::new(lpwad_week::seal(u64::MAX));
    let database = Database::open(Medium::holding(bytes), seal).map_err(|error| format!("does not open: {error}"))?;
    let loaded = database.load().map_err(|error| format!("cannot be read: {error}"))?;
    let (exports, damaged) = database.exports().map_err(|error| format!("cannot be read: {error}"))?;
    if damaged.is_empty() { Ok((loaded, exports)) } else { Err(format!("exports do not open: {damaged:?}")) }
}

/// Three quiet hours on a storage.
fn quiet(medium: &Medium) -> Settings {
    Settings {
        nodes: NODES,
        length: Duration::from_secs(3 * 3600),
        medium: Some(medium.clone()),
        weather: Weather::Calm,
        ..Settings::week(5)
    }
}

/// Runs them with a log; gives the log, and what the database had after each batch.
fn quiet_hours() -> (Vec<Operation>, Vec<(usize, Kept)>) {
    let medium = Medium::with_log();
    let outcome = run(quiet(&medium));
    assert_eq!(outcome.violations, []);
    assert!(outcome.history.len() > 60, "{} batches", outcome.history.len());
    (medium.log(), outcome.history)
}

/// Cuts the power after every operation, in four ways; gives how many images were opened and gateways started.
fn walk(log: &[Operation], history: &[(usize, Kept)]) -> Result<(u32, u32), String> {
    let mut synced = Vec::new();
    let mut since_sync: Vec<Operation> = Vec::new();
    let (mut images, mut started) = (0, 0);
    for (done, operation) in log.iter().enumerate().map(|(index, operation)| (index + 1, operation)) {
        if matches!(operation, Operation::Sync) {
            apply(&mut synced, &since_sync, Left::All);
            since_sync.clear();
        } else {
            since_sync.push(operation.clone());
        }
        // Batches that were reported as written by now, and the one under way.
        let reported = history.partition_point(|(operations, _)| *operations <= done);
        let before = reported.checked_sub(1).and_then(|index| history.get(index));
        let after = history.get(reported);
        for left in [Left::Nothing, Left::All, Left::Some(done as u64), Left::Torn] {
            if since_sync.is_empty() && left != Left::Nothing {
                continue;
            }
            let mut bytes = synced.clone();
            apply(&mut bytes, &since_sync, left);
            images += 1;
            let loaded = load(bytes);
            let Some((_, before)) = before else {
                // The database is being made; nothing was promised.
                continue;
            };
            let loaded = loaded.map_err(|problem| format!("operation {done}, {left:?}: {problem}"))?;
            let is = |known: &Kept| loaded == *known;
            if !is(before) && !after.is_some_and(|(_, after)| is(after)) {
                return Err(format!("operation {done}, {left:?}: neither before the batch nor after it"));
            }
            if left == Left::Nothing {
                started += 1;
                let damaged = starts(NODES, &loaded.0);
                if !damaged.is_empty() {
                    return Err(format!("operation {done}: {damaged:?}"));
                }
            }
        }
    }
    Ok((images, started))
}

#[test]
fn at_every_write_the_database_is_as_before_the_batch_or_as_after_it_and_the_gateway_starts() {
    let (log, history) = quiet_hours();
    let (images, started) = walk(&log, &history).unwrap();
    println!("{} operations, {} batches, {images} images, {started} starts", log.len(), history.len());
    assert!(images > 1500 && started > 500, "{images} images, {started} starts");
}

#[test]
fn wherever_the_power_goes_the_traffic_goes_on_and_breaks_no_rule() {
    let (log, history) = quiet_hours();
    // The database is made by then.
    let first = history[0].0 + 1;
    for (index, operations) in (first..log.len() * 2 / 3).step_by(log.len() / 30).enumerate() {
        let left = [Left::Nothing, Left::All, Left::Some(operations as u64), Left::Torn][index % 4];
        let settings = Settings { cut: Some((operations, left)), ..quiet(&Medium::default()) };
        let outcome = run(settings);
        assert_eq!(outcome.violations, [], "operation {operations}, {left:?}");
        let count = |name| outcome.counts.get(name).copied().unwrap_or(0);
        assert_eq!(count("boots"), 2, "operation {operations}, {left:?}");
        assert!(count("uplink") >= 8 && count("writes_arrived") >= 4, "operation {operations}: {:?}", outcome.counts);
    }
}

#[test]
fn a_batch_that_is_reported_before_it_is_synchronised_is_found() {
    let (log, mut history) = quiet_hours();
    for (operations, _) in &mut history {
        // The last operation of a batch is the sync that makes it count.
        *operations -= 1;
    }
    assert!(walk(&log, &history).unwrap_err().contains("neither before"));
}

#[test]
fn two_days_of_faults_on_the_real_database_break_no_rule() {
    let settings = |seed| Settings {
        nodes: 20,
        length: Duration::from_secs(2 * 86_400),
        medium: Some(Medium::default()),
        ..Settings::week(seed)
    };
    let outcome = run(settings(11));
    assert_eq!(outcome.violations, []);
    let count = |name| outcome.counts.get(name).copied().unwrap_or(0);
    assert!(
        count("boots") > 10 && count("store-failed") > 3 && count("writes_acknowledged") > 50,
        "{:?}",
        outcome.counts
    );
    assert_eq!(run(settings(11)).hash, outcome.hash);
}
