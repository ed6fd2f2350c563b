/*
 * SPDX-License-Identifier: Apache-2.0
 */

/*
 * The bus is a UART as an appliance's link is one, under other names: what rekindle/port.h calls the link is that of
 * the controller's own receiver (own.c).
 */

#include <rekindle/controller.h>

#define rekindle_link_open     rekindle_bus_open
#define rekindle_link_read     rekindle_bus_read
#define rekindle_link_write    rekindle_bus_write
#define rekindle_link_drain    rekindle_bus_drain
#define rekindle_link_capacity rekindle_bus_capacity
#define rekindle_link_overruns rekindle_bus_overruns

/* The controller waits for more than its bus. */
#define REKINDLE_ON_RECEIVED() rekindle_wake()

#include "../link.c"

/* A frame of the largest payload, with every byte stuffed. */
#define FRAME_MAX 252

const struct rekindle_controller rekindle_controller = {
	.baud = DT_PROP_OR(DT_CHOSEN(rekindle_uart), current_speed, 115200),
	.checkpoint = CONFIG_REKINDLE_CONTROLLER_CHECKPOINT,
	.bus_window = CLAMP(CONFIG_REKINDLE_LINK_TX_SIZE / FRAME_MAX, 1, CONFIG_REKINDLE_WINDOW),
	.client_window = MIN(CONFIG_REKINDLE_WINDOW, UINT8_MAX),
	.transparent = IS_ENABLED(CONFIG_REKINDLE_CONTROLLER_TRANSPARENT),
	.half_duplex = IS_ENABLED(CONFIG_REKINDLE_LINK_HALF_DUPLEX),
	/* Made of the names in Kconfig by target.cmake. */
#ifdef REKINDLE_PRODUCT_VENDOR_ID
	.has_vendor = true,
	.vendor_id = {REKINDLE_PRODUCT_VENDOR_ID},
#endif
#ifdef REKINDLE_PRODUCT_CLASS_ID
	.has_class = true,
	.class_id = {REKINDLE_PRODUCT_CLASS_ID},
#endif
};
