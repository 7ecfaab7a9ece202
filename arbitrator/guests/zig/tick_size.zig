//! Prices stand on the tick: a judge in Zig, written from nothing but the published WIT and the canonical ABI.
//!
//! The value of a proposal is a price in decimal digits; it has to be a multiple of five. A removal is always accepted.
//!
//!     python3 -m ziglang build-exe tick_size.zig -target wasm32-freestanding -O ReleaseSmall -fno-entry -fstrip
//!         -rdynamic --export=__heap_base --stack 4096 -femit-bin=tick-size.wasm
//!
//! Invariant: it knows its arguments alone, and is admitted to the sealed tier.

const malformed = 1;
const off_the_tick = 2;
const tick = 5;

const proposal_bytes_max = 2048;

const Manifest = extern struct {
    name: [*]const u8 = "tick-size",
    name_bytes: u32 = 9,
    version: [3]u16 = .{ 1, 0, 0 },
    reads: u8 = 0,
    max_state: u32 = 0,
    max_proposal: u32 = proposal_bytes_max,
    max_effects: u32 = 0,
    fuel: u64 = 50_000,
};

const Outcome = extern struct { verdict: u8, code: u32, effects: u32 = 0, effects_bytes: u32 = 0 };

const manifest: Manifest = .{};
const accepted: Outcome = .{ .verdict = 0, .code = 0 };
const is_malformed: Outcome = .{ .verdict = 1, .code = malformed };
const is_off_the_tick: Outcome = .{ .verdict = 1, .code = off_the_tick };

var arguments: [proposal_bytes_max + 64]u8 align(8) = undefined;
var taken: usize = 0;

export fn cabi_realloc(_: ?*u8, old_bytes: usize, alignment: usize, bytes: usize) *u8 {
    const begin = (taken + alignment - 1) / alignment * alignment;
    if (old_bytes != 0 or begin + bytes > arguments.len) @trap();
    taken = begin + bytes;
    return &arguments[begin];
}

export fn describe() *const Manifest {
    return &manifest;
}

export fn decide(
    _: u64, // sequence
    _: u64, // epoch
    _: u64, // time-ns
    _: u64, // seed
    _: u64, // proposer
    _: u32, // kind
    _: u32, // attrs
    _: [*]const u8, // state
    _: usize,
    proposal: [*]const u8,
    proposal_bytes: usize,
) *const Outcome {
    return judge(proposal[0..proposal_bytes]);
}

fn judge(proposal: []const u8) *const Outcome {
    if (proposal.len < 8) return &is_malformed;
    const key_bytes = @as(usize, proposal[0]) | @as(usize, proposal[1]) << 8;
    if (proposal[2] == 1) return &accepted;
    if (proposal.len <= 8 + key_bytes) return &is_malformed;
    const price = proposal[8 + key_bytes ..];
    for (price) |digit| {
        if (digit < '0' or digit > '9') return &is_malformed;
    }
    // Whether a number is a multiple of five stands in its last digit.
    return if ((price[price.len - 1] - '0') % tick == 0) &accepted else &is_off_the_tick;
}
