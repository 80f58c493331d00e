//! Live memory of the gateway: a global allocator that counts what is taken and given back *inside* calls of the gateway.
//! The world builds inputs and drops outputs inside too, so that the count is exact; a gateway that is dropped leaves 0.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
    static LIVE: Cell<i64> = const { Cell::new(0) };
}

struct Tally;

fn count(bytes: i64) {
    // A thread that ends has no tally any more, and no gateway.
    let _ = INSIDE.try_with(|inside| {
        if inside.get() {
            let _ = LIVE.try_with(|live| live.set(live.get() + bytes));
        }
    });
}

#[expect(unsafe_code, reason = "an allocator is unsafe by its nature; this one hands everything to the system's")]
// SAFETY: every call goes to the system's allocator unchanged; counting touches thread-local cells only and allocates nothing.
unsafe impl GlobalAlloc for Tally {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as i64 - layout.size() as i64);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Tally = Tally;

/// Does `work`, whose memory is the gateway's.
pub fn inside<T>(work: impl FnOnce() -> T) -> T {
    INSIDE.with(|inside| inside.set(true));
    let result = work();
    INSIDE.with(|inside| inside.set(false));
    result
}

/// Bytes that the gateways of this thread hold.
#[must_use]
pub fn live() -> i64 {
    LIVE.with(Cell::get)
}
