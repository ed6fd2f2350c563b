# SPDX-License-Identifier: Apache-2.0
#
# The appliances that the controller updates are another image of the same build: one bootloader, one key.

ExternalZephyrProject_Add(
  APPLICATION appliance
  SOURCE_DIR ${CMAKE_CURRENT_LIST_DIR}/../update
)

# There can be one main application, which the swap mode and the key are told to; so they are told to this one as well.
set(ZCMAKE_APPLICATION appliance)
include(${CMAKE_SOURCE_DIR}/image_configurations/MAIN_image_default.cmake)
