/*
 * SPDX-License-Identifier: Apache-2.0
 */

/*
 * SMP and an update session share the secondary slot, one after the other.
 *
 * Before MCUmgr writes, this asks the session's thread, and waits until the session is
 * closed in the journal: whatever is cut short afterwards, nothing is resumed over SMP's
 * bytes. SMP then holds the slot until it has been idle for CONFIG_REKINDLE_SMP_HOLD_MS.
 */

#include <zephyr/init.h>
#include <zephyr/kernel.h>
#include <zephyr/mgmt/mcumgr/grp/img_mgmt/img_mgmt.h>
#include <zephyr/mgmt/mcumgr/grp/os_mgmt/os_mgmt_callbacks.h>
#include <zephyr/mgmt/mcumgr/mgmt/callbacks.h>
#include <zephyr/mgmt/mcumgr/mgmt/mgmt.h>

#include <rekindle/smp.h>

/* Nothing is started between the grant and the reset (rust/rekindle-zephyr/src/smp.rs). */
BUILD_ASSERT(CONFIG_MCUMGR_GRP_OS_RESET_MS <= 4000, "rekindle: the reset comes too late");

/* How long SMP waits for the session's thread, which may be erasing. */
#define PATIENCE_MS 5000

static struct k_spinlock lock;
static K_SEM_DEFINE(answered, 0, 1);
/* All of it under the lock. */
static struct {
	/* What SMP's thread waits for, and what it was told. */
	uint8_t asks;
	uint8_t answer;
	/* SMP has the slot. */
	bool holds;
	/* It has it since the first chunk of an upload or before. */
	bool uploading;
	/* A command is being carried out. */
	bool working;
	bool confirmed;
	int64_t used_ms;
} smp;

static int error_of(uint8_t answer)
{
	switch (answer) {
	case REKINDLE_SMP_GRANTED:
	case REKINDLE_SMP_LENT:
		return MGMT_ERR_EOK;
	case REKINDLE_SMP_UNSAFE:
		return MGMT_ERR_EBADSTATE;
	default:
		return MGMT_ERR_EBUSY;
	}
}

/* Asks the session's thread, and returns MCUmgr's code for the answer. */
static int ask(uint8_t what)
{
	uint8_t answer = REKINDLE_SMP_BUSY;

	k_sem_reset(&answered);
	K_SPINLOCK(&lock) {
		smp.asks = what;
	}
	(void)k_sem_take(&answered, K_MSEC(PATIENCE_MS));
	K_SPINLOCK(&lock) {
		if (smp.asks == REKINDLE_SMP_NOTHING) {
			answer = smp.answer;
		}
		smp.asks = REKINDLE_SMP_NOTHING;
	}
	return error_of(answer);
}

/* The slot for one command; `start` when it may be the first one. */
static int take(uint8_t what, bool upload, bool start)
{
	bool mine = false;
	int rc;

	K_SPINLOCK(&lock) {
		mine = smp.holds && (start || smp.uploading);
		if (mine) {
			smp.working = true;
			smp.uploading = smp.uploading || upload;
		}
	}
	if (mine) {
		return MGMT_ERR_EOK;
	}
	if (!start) {
		/* What came before it may have been overwritten. */
		return MGMT_ERR_EBUSY;
	}
	rc = ask(what);
	if (rc == MGMT_ERR_EOK && upload) {
		K_SPINLOCK(&lock) {
			smp.uploading = smp.holds;
		}
	}
	return rc;
}

static enum mgmt_cb_return refused(int code, int32_t *rc)
{
	if (code == MGMT_ERR_EOK) {
		return MGMT_CB_OK;
	}
	*rc = code;
	return MGMT_CB_ERROR_RC;
}

static void command_done(void)
{
	K_SPINLOCK(&lock) {
		if (smp.working) {
			smp.working = false;
			smp.used_ms = k_uptime_get();
		}
	}
}

static enum mgmt_cb_return on_command(uint32_t event, enum mgmt_cb_return before, int32_t *rc,
				      uint16_t *group, bool *abort_more, void *data, size_t size)
{
	const struct mgmt_evt_op_cmd_arg *command = data;

	ARG_UNUSED(group);
	ARG_UNUSED(abort_more);
	ARG_UNUSED(size);
	if (event == MGMT_EVT_OP_CMD_DONE) {
		command_done();
		return MGMT_CB_OK;
	}
	if (before != MGMT_CB_OK || command->group != MGMT_GROUP_ID_IMAGE ||
	    command->op != MGMT_OP_WRITE) {
		return MGMT_CB_OK;
	}
	switch (command->id) {
	case IMG_MGMT_ID_STATE:
		return refused(take(REKINDLE_SMP_MARK, false, true), rc);
	case IMG_MGMT_ID_ERASE:
		return refused(take(REKINDLE_SMP_WRITE, false, true), rc);
	default:
		/* An upload is asked for when its offset is known. */
		return MGMT_CB_OK;
	}
}

static enum mgmt_cb_return on_image(uint32_t event, enum mgmt_cb_return before, int32_t *rc,
				    uint16_t *group, bool *abort_more, void *data, size_t size)
{
	const struct img_mgmt_upload_check *upload = data;

	ARG_UNUSED(group);
	ARG_UNUSED(abort_more);
	ARG_UNUSED(size);
	if (event == MGMT_EVT_OP_IMG_MGMT_DFU_CONFIRMED) {
		K_SPINLOCK(&lock) {
			smp.confirmed = true;
		}
		return MGMT_CB_OK;
	}
	if (before != MGMT_CB_OK) {
		return MGMT_CB_OK;
	}
	return refused(take(REKINDLE_SMP_WRITE, true, upload->req->off == 0U), rc);
}

static enum mgmt_cb_return on_reset(uint32_t event, enum mgmt_cb_return before, int32_t *rc,
				    uint16_t *group, bool *abort_more, void *data, size_t size)
{
	const struct os_mgmt_reset_data *reset = data;

	ARG_UNUSED(event);
	ARG_UNUSED(group);
	ARG_UNUSED(abort_more);
	ARG_UNUSED(size);
	if (before != MGMT_CB_OK || reset->force) {
		return MGMT_CB_OK;
	}
	return refused(ask(REKINDLE_SMP_RESET), rc);
}

uint8_t rekindle_smp_asks(void)
{
	uint8_t asks = REKINDLE_SMP_NOTHING;

	K_SPINLOCK(&lock) {
		asks = smp.asks;
	}
	return asks;
}

bool rekindle_smp_answer(uint8_t answer)
{
	bool waited = false;

	K_SPINLOCK(&lock) {
		waited = smp.asks != REKINDLE_SMP_NOTHING;
		if (waited) {
			smp.asks = REKINDLE_SMP_NOTHING;
			smp.answer = answer;
			if (answer == REKINDLE_SMP_LENT) {
				smp.holds = true;
				smp.working = true;
			}
		}
	}
	if (waited) {
		k_sem_give(&answered);
	}
	return waited;
}

bool rekindle_smp_holds(bool back)
{
	bool holds = false;

	K_SPINLOCK(&lock) {
		bool idle = k_uptime_get() - smp.used_ms >= CONFIG_REKINDLE_SMP_HOLD_MS;

		if (smp.holds && !smp.working && (back || idle)) {
			smp.holds = false;
			smp.uploading = false;
		}
		holds = smp.holds;
	}
	return holds;
}

bool rekindle_smp_confirmed(void)
{
	bool confirmed = false;

	K_SPINLOCK(&lock) {
		confirmed = smp.confirmed;
		smp.confirmed = false;
	}
	return confirmed;
}

static struct mgmt_callback callbacks[] = {
	{
		.callback = on_command,
		.event_id = MGMT_EVT_OP_CMD_RECV | MGMT_EVT_OP_CMD_DONE,
	},
	{
		.callback = on_image,
		.event_id = MGMT_EVT_OP_IMG_MGMT_DFU_CHUNK | MGMT_EVT_OP_IMG_MGMT_DFU_CONFIRMED,
	},
	{
		.callback = on_reset,
		.event_id = MGMT_EVT_OP_OS_MGMT_RESET,
	},
};

static int rekindle_smp_init(void)
{
	ARRAY_FOR_EACH_PTR(callbacks, callback) {
		mgmt_callback_register(callback);
	}
	return 0;
}

SYS_INIT(rekindle_smp_init, APPLICATION, 0);
