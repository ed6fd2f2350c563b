// SPDX-License-Identifier: Apache-2.0

//! Makes Zephyr's boolean Kconfig options known as `cfg(CONFIG_…)`.

fn main() {
    zephyr_build::export_kconfig_bool_options();
}
