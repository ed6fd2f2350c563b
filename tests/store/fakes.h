/*
 * SPDX-License-Identifier: Apache-2.0
 */

/*
 * A file system in memory instead of Zephyr's: what is written becomes part of a file at a sync or when it is closed,
 * either of which can be told to fail.
 */

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#define FS_LITTLEFS             1
#define FS_MOUNT_FLAG_NO_FORMAT 1
#define FS_O_RDWR               1
#define FS_O_CREATE             2
#define FS_SEEK_SET             0
#define FS_SEEK_END             2

#define BIT(n)                                   (1UL << (n))
#define MIN(a, b)                                (((a) < (b)) ? (a) : (b))
#define MAX(a, b)                                (((a) > (b)) ? (a) : (b))
#define FIXED_PARTITION_ID(label)                1
#define FS_LITTLEFS_DECLARE_DEFAULT_CONFIG(name) static int name

typedef int fs_mode_t;

struct fs_file_t {
	int number;
	off_t at;
};

struct fs_mount_t {
	int type;
	void *fs_data;
	void *storage_dev;
	const char *mnt_point;
	int flags;
};

struct fs_statvfs {
	unsigned long f_bfree;
	unsigned long f_frsize;
};

struct fs_dirent {
	size_t size;
};

void fs_file_t_init(struct fs_file_t *file);
int fs_mount(struct fs_mount_t *mount);
int fs_statvfs(const char *path, struct fs_statvfs *stat);
int fs_stat(const char *path, struct fs_dirent *entry);
int fs_open(struct fs_file_t *file, const char *path, fs_mode_t mode);
int fs_close(struct fs_file_t *file);
int fs_sync(struct fs_file_t *file);
int fs_seek(struct fs_file_t *file, off_t offset, int whence);
off_t fs_tell(struct fs_file_t *file);
int fs_truncate(struct fs_file_t *file, off_t length);
ssize_t fs_read(struct fs_file_t *file, void *data, size_t len);
ssize_t fs_write(struct fs_file_t *file, const void *data, size_t len);
int fs_rename(const char *from, const char *to);
int fs_unlink(const char *path);
