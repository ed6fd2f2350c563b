/*
 * SPDX-License-Identifier: Apache-2.0
 */

/*
 * The store on littlefs.
 *
 * One file is kept open, the one used last: a file that is opened for each piece would have its last block copied for
 * each. littlefs makes written bytes part of a file at a sync or when it is closed, and a rename replaces as one step.
 */

#include <errno.h>

#include <zephyr/fs/fs.h>
#include <zephyr/fs/littlefs.h>
#include <zephyr/kernel.h>
#include <zephyr/storage/flash_map.h>
#include <zephyr/sys/util.h>

#include <rekindle/controller.h>

#define MOUNT_POINT "/rekindle"

/* Of the partition these belong to no image: the state while it is written anew, both files of the record of root
 * mode, and what littlefs needs of its own for files that change. In blocks of the file system.
 */
#define RESERVED_BLOCKS 24

/* How often what is there is asked for before it is given up and the partition is formatted. */
#define MOUNT_TRIES 3

static const char *const names[REKINDLE_STORE_FILES] = {
	MOUNT_POINT "/image", MOUNT_POINT "/state", MOUNT_POINT "/state.new",
	MOUNT_POINT "/audit", MOUNT_POINT "/audit.old",
};

FS_LITTLEFS_DECLARE_DEFAULT_CONFIG(littlefs);

static struct fs_mount_t mount = {
	.type = FS_LITTLEFS,
	.fs_data = &littlefs,
	.storage_dev = (void *)FIXED_PARTITION_ID(files_partition),
	.mnt_point = MOUNT_POINT,
};

/* Zephyr formats whatever it cannot mount. A passing fault of the flash must not cost the roster and the record of root
 * mode, so that is left to the last try.
 */
static int mount_store(void)
{
	int rc = -EIO;

	for (int i = 0; rc != 0 && i < MOUNT_TRIES; i++) {
		mount.flags = (i + 1 < MOUNT_TRIES) ? FS_MOUNT_FLAG_NO_FORMAT : 0;
		rc = fs_mount(&mount);
	}
	return rc;
}

static struct fs_file_t file_open;
/* Number of the open file, or -1. */
static int open_number = -1;

/* Files, as bits, that could not be closed: they lack what was written last, and nobody knows yet. */
static uint8_t lost;

static void close_open(void)
{
	int number = open_number;

	if (number >= 0) {
		open_number = -1;
		if (fs_close(&file_open) != 0) {
			lost |= BIT(number);
		}
	}
}

/* What a file has lost is told once, with its own next operation and not with that of the one it was closed for. */
static int tell_lost(uint8_t file)
{
	if ((lost & BIT(file)) == 0) {
		return 0;
	}
	lost &= ~BIT(file);
	return -EIO;
}

static int use(uint8_t file, fs_mode_t create)
{
	int rc;

	if (file >= REKINDLE_STORE_FILES) {
		return -EINVAL;
	}
	if (open_number == file) {
		return 0;
	}
	close_open();
	rc = tell_lost(file);
	if (rc != 0) {
		return rc;
	}
	fs_file_t_init(&file_open);
	rc = fs_open(&file_open, names[file], FS_O_RDWR | create);
	if (rc == 0) {
		open_number = file;
	}
	return rc;
}

/* After a failure, which is being told, nobody knows what the open file holds. */
static int done(int rc)
{
	if (rc < 0 && open_number >= 0) {
		uint8_t file = (uint8_t)open_number;

		close_open();
		(void)tell_lost(file);
	}
	return rc;
}

int rekindle_store_open(uint32_t *room)
{
	struct fs_statvfs stat;
	struct fs_dirent image;
	uint64_t bytes;
	int rc = mount_store();

	if (rc != 0) {
		return rc;
	}
	rc = fs_statvfs(MOUNT_POINT, &stat);
	if (rc != 0) {
		return rc;
	}
	bytes = (stat.f_bfree > RESERVED_BLOCKS)
			? (uint64_t)(stat.f_bfree - RESERVED_BLOCKS) * stat.f_frsize
			: 0U;
	/* The next image takes the place of the one that is there. */
	if (fs_stat(names[0], &image) == 0) {
		bytes += image.size;
	}
	*room = (uint32_t)MIN(bytes, UINT32_MAX);
	return 0;
}

int rekindle_store_append(uint8_t file, uint32_t at, const uint8_t *data, size_t len)
{
	off_t end;
	ssize_t n;
	int rc = use(file, FS_O_CREATE);

	if (rc != 0) {
		return rc;
	}
	rc = fs_seek(&file_open, 0, FS_SEEK_END);
	end = (rc == 0) ? fs_tell(&file_open) : rc;
	if (end < 0) {
		return done((int)end);
	}
	if (end < (off_t)at) {
		return -EINVAL;
	}
	if (end > (off_t)at) {
		rc = fs_truncate(&file_open, (off_t)at);
		if (rc == 0) {
			rc = fs_seek(&file_open, (off_t)at, FS_SEEK_SET);
		}
		if (rc != 0) {
			return done(rc);
		}
	}
	n = fs_write(&file_open, data, len);
	if (n < 0) {
		return done((int)n);
	}
	return ((size_t)n == len) ? 0 : done(-ENOSPC);
}

int rekindle_store_sync(uint8_t file)
{
	int rc = use(file, 0);

	return (rc == 0) ? done(fs_sync(&file_open)) : rc;
}

int rekindle_store_read(uint8_t file, uint32_t offset, uint8_t *data, size_t len)
{
	ssize_t n;
	off_t end;
	int rc = use(file, 0);

	if (rc == -ENOENT) {
		return 0;
	}
	if (rc != 0) {
		return rc;
	}
	rc = fs_seek(&file_open, 0, FS_SEEK_END);
	end = (rc == 0) ? fs_tell(&file_open) : rc;
	if (end < 0) {
		return done((int)end);
	}
	if (end <= (off_t)offset) {
		return 0;
	}
	rc = fs_seek(&file_open, (off_t)offset, FS_SEEK_SET);
	if (rc != 0) {
		return done(rc);
	}
	n = fs_read(&file_open, data, len);
	return (n < 0) ? done((int)n) : (int)n;
}

int rekindle_store_commit(uint8_t from, uint8_t to)
{
	int rc;

	if (from >= REKINDLE_STORE_FILES || to >= REKINDLE_STORE_FILES) {
		return -EINVAL;
	}
	close_open();
	rc = tell_lost(from);
	if (rc == 0) {
		rc = fs_rename(names[from], names[to]);
	}
	if (rc == 0) {
		/* It is another one now. */
		(void)tell_lost(to);
	}
	return rc;
}

int rekindle_store_remove(uint8_t file)
{
	int rc;

	if (file >= REKINDLE_STORE_FILES) {
		return -EINVAL;
	}
	close_open();
	rc = fs_unlink(names[file]);
	if (rc == 0 || rc == -ENOENT) {
		(void)tell_lost(file);
		return 0;
	}
	return rc;
}
