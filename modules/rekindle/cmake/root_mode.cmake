# SPDX-License-Identifier: Apache-2.0
#
# Root mode is for somebody who stands before the controller: the button is held there, and the confirmation, the switch
# for downgrades and the end are typed at its console. A shell that can be reached over a network or a radio would let
# anybody type, and whoever can write files from there needs not even that: the switches lie in one.

if(NOT CONFIG_REKINDLE_CONTROLLER_ROOT_NONE)
  foreach(reach
    SHELL_BACKEND_TELNET SHELL_BACKEND_WEBSOCKET SHELL_BACKEND_MQTT SHELL_BT_NUS MCUMGR_GRP_SHELL MCUMGR_GRP_FS
  )
    if(CONFIG_${reach})
      if(reach STREQUAL "MCUMGR_GRP_FS")
        set(what "the store's files")
      else()
        set(what "the shell")
      endif()
      message(FATAL_ERROR
        "CONFIG_${reach} brings ${what}, and root mode with it, within a network's reach. Build without it, or "
        "without root mode (CONFIG_REKINDLE_CONTROLLER_ROOT_NONE)."
      )
    endif()
  endforeach()
endif()
