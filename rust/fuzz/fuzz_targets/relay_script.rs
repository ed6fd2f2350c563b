// SPDX-License-Identifier: Apache-2.0
#![no_main]

#[path = "../../rekindle-relay/tests/fuzzing/mod.rs"]
mod fuzzing;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzzing::check_script(data);
});
