# SPDX-License-Identifier: Apache-2.0
#
# Where a slot's trailer begins is MCUboot's business, and follows from how many sectors it was
# built for. It must not begin where an application still puts image: so both are told the same.

function(rekindle_check_sectors image)
  sysbuild_get(automatic IMAGE mcuboot VAR CONFIG_BOOT_MAX_IMG_SECTORS_AUTO KCONFIG)
  sysbuild_get(bootloader IMAGE mcuboot VAR CONFIG_BOOT_MAX_IMG_SECTORS KCONFIG)
  sysbuild_get(application IMAGE ${image} VAR CONFIG_REKINDLE_BOOT_MAX_SECTORS KCONFIG)
  if(automatic)
    message(FATAL_ERROR
      "MCUboot counts a slot's sectors by itself (CONFIG_BOOT_MAX_IMG_SECTORS_AUTO), and ${image} cannot know the "
      "number. Set CONFIG_BOOT_MAX_IMG_SECTORS_AUTO=n and CONFIG_BOOT_MAX_IMG_SECTORS=${application} for MCUboot, "
      "as sysbuild/mcuboot.conf does.")
  elseif(NOT "${bootloader}" STREQUAL "${application}")
    message(FATAL_ERROR
      "MCUboot is built for slots of ${bootloader} sectors (CONFIG_BOOT_MAX_IMG_SECTORS), ${image} for "
      "${application} (CONFIG_REKINDLE_BOOT_MAX_SECTORS). They decide where the trailer begins, and must be the same.")
  endif()
endfunction()
