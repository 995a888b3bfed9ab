//! What the process has used: allocations, CPU time, memory. And a clock.

#![allow(unsafe_code)] // A counting allocator cannot be had without.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static ON: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static LIVE: AtomicI64 = AtomicI64::new(0);
static PEAK: AtomicI64 = AtomicI64::new(0);

/// Counts from now on. Off at first, as shared counters would slow what is timed.
pub fn count_allocations() {
    ON.store(true, Relaxed);
}

/// Allocations and reallocations since counting began.
pub fn allocations() -> u64 {
    ALLOCATIONS.load(Relaxed)
}

/// Bytes on the heap beyond those when counting began.
pub fn live_bytes() -> i64 {
    LIVE.load(Relaxed)
}

/// The most that `live_bytes` ever was.
pub fn peak_bytes() -> i64 {
    PEAK.load(Relaxed)
}

/// CPU time of all threads, user and system.
pub fn cpu() -> Duration {
    time(ClockId::ProcessCPUTime)
}

/// By the clock that all processes of a machine share.
pub fn now() -> Duration {
    time(ClockId::Monotonic)
}

fn time(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The most memory that was ever resident, in bytes.
pub fn peak_resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kib * 1024
}

struct Counting;

impl Counting {
    fn grow(bytes: i64) {
        if ON.load(Relaxed) {
            ALLOCATIONS.fetch_add(1, Relaxed);
            let live = LIVE.fetch_add(bytes, Relaxed) + bytes;
            PEAK.fetch_max(live, Relaxed);
        }
    }

    fn shrink(bytes: i64) {
        if ON.load(Relaxed) {
            LIVE.fetch_sub(bytes, Relaxed);
        }
    }
}

// SAFETY: every call goes to `System` with the arguments as they came, and its answer is returned
// as it is; the counting touches atomics only, so it neither allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Counting::grow(layout.size() as i64);
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    // Not left to the default: it would touch pages that the system has as zeroes.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Counting::grow(layout.size() as i64);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        Counting::shrink(layout.size() as i64);
        // SAFETY: `pointer` came from `System`, as all that this allocator hands out.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Counting::grow(size as i64 - layout.size() as i64);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
