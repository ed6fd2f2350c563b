# SPDX-License-Identifier: Apache-2.0
#
# MCUmgr's image group writes to the slot that sessions write to; REKINDLE_SMP keeps the two apart. Kconfig cannot see
# to it, for REKINDLE_SMP selects the group.

if(CONFIG_MCUMGR_GRP_IMG AND NOT CONFIG_REKINDLE_SMP AND NOT CONFIG_REKINDLE_SMP_UNGUARDED)
  message(FATAL_ERROR
    "CONFIG_MCUMGR_GRP_IMG without CONFIG_REKINDLE_SMP: MCUmgr and an update session would write to the same slot. "
    "Say CONFIG_REKINDLE_SMP=y, or CONFIG_REKINDLE_SMP_UNGUARDED=y if something else keeps them apart."
  )
endif()
