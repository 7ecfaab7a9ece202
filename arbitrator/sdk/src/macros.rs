//! The macros that make a guest of a judge: exports, arena, panic handler and the contract's type.
//!
//! Invariant: outside the sandbox they expand to nothing, so the same source is the native oracle of its guest.

/// Exports an [`Arbitrator`](crate::Arbitrator) under the world `arbitrator`.
#[macro_export]
macro_rules! arbitrator {
    ($judge:ty) => {
        $crate::guest_exports!($judge, $crate::guest::ARBITRATOR_TYPE);
        $crate::guest_decide!($judge);
    };
}

/// Exports an [`Arbitrator`](crate::Arbitrator) that is a [`Plan`](crate::Plan) as well.
#[macro_export]
macro_rules! planning_arbitrator {
    ($judge:ty) => {
        $crate::guest_exports!($judge, $crate::guest::PLANNING_ARBITRATOR_TYPE);
        $crate::guest_decide!($judge);

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            #[allow(unsafe_code)]
            // SAFETY: the world `planning-arbitrator` exports this name once.
            #[unsafe(export_name = "plan")]
            extern "C" fn plan(proposal: *const u8, bytes: usize) -> *const u8 {
                $crate::guest::plan::<$judge>(proposal, bytes)
            }
        };
    };
}

/// Exports a [`BatchArbitrator`](crate::BatchArbitrator) under the world `batch-arbitrator`.
#[macro_export]
macro_rules! batch_arbitrator {
    ($judge:ty) => {
        $crate::guest_exports!($judge, $crate::guest::BATCH_ARBITRATOR_TYPE);

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            const EFFECTS: usize = <$judge as $crate::BatchArbitrator>::MANIFEST.max_effects as usize;
            static ROOM: $crate::guest::Room<EFFECTS> = $crate::guest::Room::new();

            #[allow(unsafe_code)]
            // SAFETY: the world `batch-arbitrator` exports this name once.
            #[unsafe(export_name = "decide-batch")]
            extern "C" fn decide_batch(
                sequence: u64,
                epoch: u64,
                time_ns: u64,
                seed: u64,
                proposer: u64,
                kind: u32,
                attrs: u32,
                state: *const u8,
                state_bytes: usize,
                proposals: *const u8,
                count: usize,
            ) -> *const u8 {
                let context = $crate::Context { sequence, epoch, time_ns, seed, proposer, kind, attrs };
                $crate::guest::decide_batch::<$judge, EFFECTS>(
                    &context,
                    (state, state_bytes),
                    (proposals, count),
                    &ROOM,
                )
            }
        };
    };
}

/// What every guest exports.
#[doc(hidden)]
#[macro_export]
macro_rules! guest_exports {
    ($judge:ty, $component_type:expr) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            #[allow(unused_imports)]
            use $crate::{Arbitrator as _, BatchArbitrator as _};

            const MANIFEST: $crate::Manifest = <$judge>::MANIFEST;
            const ARENA: usize = $crate::guest::arena_bytes(&MANIFEST);
            static INPUTS: $crate::guest::Arena<ARENA> = $crate::guest::Arena::new();

            #[allow(unsafe_code)]
            // SAFETY: a custom section, which no code reads.
            #[unsafe(link_section = "component-type:io-oi:arbitrator")]
            #[used]
            static TYPE: [u8; $component_type.len()] = $component_type;

            #[allow(unsafe_code)]
            // SAFETY: the canonical ABI wants this name once.
            #[unsafe(export_name = "cabi_realloc")]
            extern "C" fn realloc(old: *mut u8, old_bytes: usize, align: usize, bytes: usize) -> *mut u8 {
                INPUTS.realloc(old, old_bytes, align, bytes)
            }

            #[allow(unsafe_code)]
            // SAFETY: every world exports this name once.
            #[unsafe(export_name = "describe")]
            extern "C" fn describe() -> *const u8 {
                $crate::guest::describe(&MANIFEST)
            }

            #[panic_handler]
            fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
                core::arch::wasm32::unreachable()
            }
        };
    };
}

/// The export `decide`.
#[doc(hidden)]
#[macro_export]
macro_rules! guest_decide {
    ($judge:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            const EFFECTS: usize = <$judge as $crate::Arbitrator>::MANIFEST.max_effects as usize;
            static ROOM: $crate::guest::Room<EFFECTS> = $crate::guest::Room::new();

            #[allow(unsafe_code)]
            // SAFETY: the worlds `arbitrator` and `planning-arbitrator` export this name once.
            #[unsafe(export_name = "decide")]
            extern "C" fn decide(
                sequence: u64,
                epoch: u64,
                time_ns: u64,
                seed: u64,
                proposer: u64,
                kind: u32,
                attrs: u32,
                state: *const u8,
                state_bytes: usize,
                proposal: *const u8,
                proposal_bytes: usize,
            ) -> *const u8 {
                let context = $crate::Context { sequence, epoch, time_ns, seed, proposer, kind, attrs };
                $crate::guest::decide::<$judge, EFFECTS>(
                    &context,
                    (state, state_bytes),
                    (proposal, proposal_bytes),
                    &ROOM,
                )
            }
        };
    };
}
