// Package source owns what the outside wants of this node: it turns a file or a directory of manifests, and a URL,
// into pods, and joins several sources into one.
//
// A manifest is taken as a whole or not at all. While one cannot be used, the pods of its last good version stay as
// they are, and a Problem says why. The identity of a pod is its UID, a hash of its content: an edit gives another UID,
// and the snapshot then holds the new pod only. A manifest that is written again without a change keeps the UID and
// the time it was first seen.
//
// # Files
//
// A file is read when it is closed after writing or moved into place, at once; while somebody has it open for
// writing, it is left alone, since a YAML text that is cut off often reads well and means something else. Where no event
// tells (at the start, or when a file was moved into place), the kernel is asked by way of a lease. A file that stays open
// is read when it was quiet for a whole relist period; one that is open at the start keeps the source from being
// ready until then. A file that is removed, or that is about to be
// replaced, may come back within Settle; then nothing has happened. An emptied file is an accident rather than an
// order: its pods stay, with a Problem; to end pods, remove the file.
//
// In a directory, sub-directories and everything that is no regular file are passed over, and these names, which
// editors and tools give to what is not, or not yet, or no longer, a manifest:
//
//   - .* (hidden: vim's swap files, Emacs' locks, rsync's and Ansible's files in transit, the ..data of a ConfigMap)
//   - *~, ~*, #*# (backups, office locks, Emacs' autosaves)
//   - *.swp *.swo *.swx *.tmp *.temp *.part *.partial *.filepart (in transit)
//   - *.bak *.orig *.old *.rej *.save *.rpmsave *.rpmnew *.rpmorig *.dpkg-old *.dpkg-new *.dpkg-dist *.dpkg-tmp
//     *.dpkg-bak *.ucf-old *.ucf-new *.ucf-dist (left behind)
//   - 4913 and the numbers by which vim goes on when it is taken; sed and six letters or digits; tmp.* (in transit)
//
// The upstream kubelet skips the hidden ones only: it takes a backup for a second pod of that name, or even for the
// newer version. Symbolic links are followed, so a mounted ConfigMap works; a link to a file elsewhere is looked at
// when it is relisted.
//
// # Reads
//
// The file system, through inotify and by relisting; the URL; for Merge, the cells of the other sources.
//
// # Writes
//
// One cell of Snapshot per source, and one that joins them; notes about manifests that cannot be used.
//
// # Goroutines
//
// Run of a File has one beside itself, which waits for inotify. Run of a URL has none. Run of a Merge has one per source.
//
// # Stops when
//
// The context ends. Run returns when all of these have ended.
package source
