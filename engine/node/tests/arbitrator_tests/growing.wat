;; A judge that cannot be sealed: it grows its memory, calculates with floats, and may recurse.
;;
;; What it says of a proposal depends on the first byte of the value: 255 traps, 254 never ends, 253 defers, 252 recurses until
;; its stack ends; any other odd one is refused as a thousand times its root, any even one accepted together with a write of
;; the byte under `g/last`.
(module
  (memory (export "memory") 1)
  (global $next (mut i32) (i32.const 1024))
  (data (i32.const 0)
    "\28\00\00\00" "\07\00\00\00"          ;; the name: where, how long
    "\01\00\00\00\00\00" "\00\00"          ;; version 1.0.0, reads nothing
    "\00\00\00\00" "\00\10\00\00" "\00\02\00\00" "\00\00\00\00" ;; state, proposal, effects
    "\a0\86\01\00\00\00\00\00"             ;; 100,000 of fuel
    "growing")
  (data (i32.const 320) "\06\00\00\00\01\00\00\00g/last\00")
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (global.get $next)
    (global.set $next (i32.and (i32.add (i32.add (global.get $next) (local.get 3)) (i32.const 7)) (i32.const -8))))
  (func (export "describe") (result i32) (i32.const 0))
  (func $deeper (param i64) (result i64)
    (i64.add (local.get 0) (call $deeper (i64.add (local.get 0) (i64.const 1)))))
  (func (export "decide") (param i64 i64 i64 i64 i64 i32 i32 i32 i32) (param $proposal i32) (param $length i32) (result i32)
    (local $byte i32)
    (local.set $byte (i32.load8_u
      (i32.add (i32.add (local.get $proposal) (i32.const 8)) (i32.load16_u (local.get $proposal)))))
    (if (i32.eq (local.get $byte) (i32.const 255)) (then unreachable))
    (if (i32.eq (local.get $byte) (i32.const 254)) (then (loop $again (br $again))))
    (if (i32.eq (local.get $byte) (i32.const 253))
      (then (i32.store8 (i32.const 256) (i32.const 2)) (return (i32.const 256))))
    (if (i32.eq (local.get $byte) (i32.const 252)) (then (drop (call $deeper (i64.const 1)))))
    ;; Its memory is one page whenever it begins, and the pages that it takes are empty.
    (if (i32.ne (memory.grow (i32.const 3)) (i32.const 1)) (then unreachable))
    (if (i32.load (i32.const 200000)) (then unreachable))
    (i32.store (i32.const 200000) (i32.const -1))
    (if (i32.and (local.get $byte) (i32.const 1)) (then
      (i32.store8 (i32.const 256) (i32.const 1))
      (i32.store (i32.const 260) (i32.trunc_f64_u
        (f64.mul (f64.sqrt (f64.convert_i32_u (local.get $byte))) (f64.const 1000))))
      (return (i32.const 256))))
    (i32.store8 (i32.const 334) (local.get $byte))
    (i32.store (i32.const 264) (i32.const 320))
    (i32.store (i32.const 268) (i32.const 15))
    (i32.const 256)))
