/*
 * SPDX-License-Identifier: Apache-2.0
 */

/*
 * The controller's store where the file system fails: nothing is called durable that is not there, and nobody is told
 * of another file's failure.
 */

#include <stdio.h>
#include <stdlib.h>

#include <rekindle/controller.h>

#define FILES 5
#define SIZE  1024

enum { IMAGE, STATE, STATE_NEW, AUDIT };

struct content {
	char path[32];
	size_t len;
	uint8_t bytes[SIZE];
};

static struct content kept[FILES];
static struct content cached;
static int failing_closes;
static int failing_syncs;
static int mounts_that_fail;
static bool formatted;
static size_t writes_at_most = SIZE;

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "line %d: %s\n", __LINE__, #condition);                    \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

static struct content *find(const char *path)
{
	for (int i = 0; i < FILES; i++) {
		if (strcmp(kept[i].path, path) == 0) {
			return &kept[i];
		}
	}
	return NULL;
}

void fs_file_t_init(struct fs_file_t *file)
{
	file->number = -1;
}

int fs_mount(struct fs_mount_t *mount)
{
	if (mounts_that_fail-- > 0) {
		return -EIO;
	}
	formatted = (mount->flags & FS_MOUNT_FLAG_NO_FORMAT) == 0;
	return 0;
}

int fs_statvfs(const char *path, struct fs_statvfs *stat)
{
	(void)path;
	*stat = (struct fs_statvfs){.f_bfree = 100, .f_frsize = 4096};
	return 0;
}

int fs_stat(const char *path, struct fs_dirent *entry)
{
	struct content *file = find(path);

	if (file == NULL) {
		return -ENOENT;
	}
	entry->size = file->len;
	return 0;
}

int fs_open(struct fs_file_t *file, const char *path, fs_mode_t mode)
{
	struct content *there = find(path);

	if (there == NULL && (mode & FS_O_CREATE) == 0) {
		return -ENOENT;
	}
	if (there == NULL) {
		there = find("");
		CHECK(there != NULL);
		*there = (struct content){0};
		snprintf(there->path, sizeof(there->path), "%s", path);
	}
	cached = *there;
	*file = (struct fs_file_t){.number = (int)(there - kept)};
	return 0;
}

static int keep(struct fs_file_t *file, int *failing)
{
	if (*failing > 0) {
		(*failing)--;
		return -EIO;
	}
	kept[file->number] = cached;
	return 0;
}

int fs_close(struct fs_file_t *file)
{
	return keep(file, &failing_closes);
}

int fs_sync(struct fs_file_t *file)
{
	return keep(file, &failing_syncs);
}

int fs_seek(struct fs_file_t *file, off_t offset, int whence)
{
	file->at = (whence == FS_SEEK_END) ? (off_t)cached.len + offset : offset;
	return 0;
}

off_t fs_tell(struct fs_file_t *file)
{
	return file->at;
}

int fs_truncate(struct fs_file_t *file, off_t length)
{
	(void)file;
	cached.len = (size_t)length;
	return 0;
}

ssize_t fs_read(struct fs_file_t *file, void *data, size_t len)
{
	size_t n = MIN(len, cached.len - (size_t)file->at);

	memcpy(data, cached.bytes + file->at, n);
	return (ssize_t)n;
}

ssize_t fs_write(struct fs_file_t *file, const void *data, size_t len)
{
	size_t n = MIN(len, writes_at_most);

	memcpy(cached.bytes + file->at, data, n);
	file->at += (off_t)n;
	cached.len = MAX(cached.len, (size_t)file->at);
	return (ssize_t)n;
}

int fs_rename(const char *from, const char *to)
{
	struct content *there = find(to);

	if (find(from) == NULL) {
		return -ENOENT;
	}
	if (there != NULL) {
		there->path[0] = '\0';
	}
	there = find(from);
	snprintf(there->path, sizeof(there->path), "%s", to);
	return 0;
}

int fs_unlink(const char *path)
{
	struct content *there = find(path);

	if (there == NULL) {
		return -ENOENT;
	}
	there->path[0] = '\0';
	return 0;
}

static uint8_t text[256] = "what is to be kept";

static int append(uint8_t file, uint32_t at)
{
	return rekindle_store_append(file, at, text, sizeof(text));
}

static int size_of(uint8_t file)
{
	uint8_t all[SIZE];

	return rekindle_store_read(file, 0, all, sizeof(all));
}

static void a_failed_close_is_told_to_the_file_that_lost_by_it(void)
{
	/* By another file's operation, whichever that is. */
	CHECK(append(IMAGE, 0) == 0);
	CHECK(rekindle_store_sync(IMAGE) == 0);
	CHECK(append(IMAGE, 256) == 0);
	failing_closes = 1;
	CHECK(append(STATE_NEW, 0) == 0);
	CHECK(rekindle_store_sync(STATE_NEW) == 0);
	CHECK(rekindle_store_sync(IMAGE) < 0);
	CHECK(size_of(IMAGE) == 256);
	/* Once, and then it goes on. */
	CHECK(append(IMAGE, 256) == 0);
	CHECK(rekindle_store_sync(IMAGE) == 0);

	CHECK(append(IMAGE, 512) == 0);
	failing_closes = 1;
	CHECK(rekindle_store_remove(AUDIT) == 0);
	CHECK(rekindle_store_sync(IMAGE) < 0);

	CHECK(append(IMAGE, 512) == 0);
	failing_closes = 1;
	CHECK(rekindle_store_commit(STATE_NEW, STATE) == 0);
	CHECK(append(IMAGE, 768) < 0);
	CHECK(size_of(IMAGE) == 512);

	/* What is lost of a file that goes is no loss. */
	CHECK(append(IMAGE, 512) == 0);
	failing_closes = 1;
	CHECK(rekindle_store_remove(IMAGE) == 0);
	CHECK(append(IMAGE, 0) == 0);
}

static void a_file_that_lost_something_takes_no_others_place(void)
{
	CHECK(append(STATE_NEW, 0) == 0);
	failing_closes = 1;
	CHECK(rekindle_store_commit(STATE_NEW, STATE) < 0);
	CHECK(size_of(STATE) == 256);
	CHECK(rekindle_store_remove(STATE_NEW) == 0);
	CHECK(size_of(STATE_NEW) == 0);
}

static void a_file_that_is_replaced_has_lost_nothing(void)
{
	CHECK(append(STATE_NEW, 0) == 0);
	CHECK(size_of(STATE) == 256);
	failing_closes = 1;
	CHECK(rekindle_store_sync(STATE_NEW) == 0);
	CHECK(rekindle_store_commit(STATE_NEW, STATE) == 0);
	CHECK(size_of(STATE) == 256);
}

static void a_failure_is_told_once(void)
{
	CHECK(append(AUDIT, 0) == 0);
	failing_syncs = 1;
	failing_closes = 1;
	CHECK(rekindle_store_sync(AUDIT) < 0);
	CHECK(append(AUDIT, 0) == 0);
	/* No room for all of it: what went is cut off by the next try. */
	writes_at_most = 100;
	CHECK(append(AUDIT, 256) == -ENOSPC);
	writes_at_most = SIZE;
	CHECK(append(AUDIT, 256) == 0);
	CHECK(rekindle_store_sync(AUDIT) == 0);
	CHECK(size_of(AUDIT) == 512);
	CHECK(append(AUDIT, 600) == -EINVAL);
	CHECK(append(REKINDLE_STORE_FILES, 0) == -EINVAL);
}

static void what_is_behind_an_append_goes(void)
{
	CHECK(append(AUDIT, 0) == 0);
	CHECK(append(AUDIT, 256) == 0);
	CHECK(rekindle_store_sync(AUDIT) == 0);
	CHECK(append(AUDIT, 64) == 0);
	CHECK(rekindle_store_sync(AUDIT) == 0);
	CHECK(size_of(AUDIT) == 64 + 256);
}

static void a_passing_fault_formats_nothing(void)
{
	uint32_t room = 0;

	mounts_that_fail = 2;
	CHECK(rekindle_store_open(&room) == 0);
	CHECK(formatted && room == (100 - 24) * 4096);
	mounts_that_fail = 1;
	CHECK(rekindle_store_open(&room) == 0);
	CHECK(!formatted);
}

static void the_image_that_is_there_makes_room_for_the_next(void)
{
	uint32_t room = 0;

	CHECK(append(IMAGE, 0) == 0);
	CHECK(rekindle_store_sync(IMAGE) == 0);
	CHECK(rekindle_store_open(&room) == 0);
	CHECK(room == (100 - 24) * 4096 + 256);
	CHECK(rekindle_store_remove(IMAGE) == 0);
}

int main(void)
{
	a_passing_fault_formats_nothing();
	the_image_that_is_there_makes_room_for_the_next();
	a_failed_close_is_told_to_the_file_that_lost_by_it();
	a_file_that_lost_something_takes_no_others_place();
	a_file_that_is_replaced_has_lost_nothing();
	a_failure_is_told_once();
	what_is_behind_an_append_goes();
	return 0;
}
