package ledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
)

// bbolt trusts the pages of its file: a flipped bit can make it run in circles or ask for all the memory there is, which
// no recover helps against. So the whole file is looked at here first. The layout is that of bbolt's format 2: pages of
// one size, two of them with what the file is about (metas, of which the newer good one holds), the others parts of a
// tree, a list of free pages, or free.

// Sizes and flags of the layout.
const (
	headSize    = 16 // of a page: id, flags, count, overflow
	elementSize = 16 // of an entry of a branch or leaf page
	bucketSize  = 16 // of what stands before an inline bucket: root, sequence
	metaSize    = 64

	branchFlag, leafFlag, freelistFlag = 0x01, 0x02, 0x10
	bucketFlag                         = 0x01

	boltMagic   = 0xED0CDAED
	boltVersion = 2
	// noFreelist stands for a list that was not written; this package's files always have one.
	noFreelist = ^uint64(0)
)

var order = binary.NativeEndian // bbolt writes its structures as they lie in memory

var (
	errNoMeta = errors.New("neither of its first pages says what it is")
	errNewer  = errors.New("it is of a newer version of bbolt")
)

// bolt is a file while it is looked at.
type bolt struct {
	data           []byte
	pageSize       uint64
	root, freelist uint64
	pages          uint64 // how many there are
	used           map[uint64]bool
}

// checkFile returns what is wrong with the content of a bbolt file, or nil.
func checkFile(data []byte) error {
	f, err := readMeta(data)
	if err != nil {
		return err
	}
	f.used = map[uint64]bool{0: true, 1: true}
	if err := f.tree(f.root, nil, nil, true); err != nil {
		return err
	}
	if err := f.free(); err != nil {
		return err
	}
	for id := range f.pages {
		if !f.used[id] {
			return fmt.Errorf("page %d is neither used nor free", id)
		}
	}
	return nil
}

// readMeta finds the newer good meta. The page size is written in each of them.
func readMeta(data []byte) (*bolt, error) {
	var best *bolt
	var bestTx uint64
	fault := errNoMeta
	sizes := []uint64{0} // offsets at which a meta may lie: the second one is a page after the first
	for size := uint64(1024); size <= 1<<16; size *= 2 {
		sizes = append(sizes, size)
	}
	for _, at := range sizes {
		if uint64(len(data)) < at+headSize+metaSize {
			break
		}
		m := data[at+headSize:][:metaSize]
		size := uint64(order.Uint32(m[8:]))
		if order.Uint32(m) != boltMagic || at > 0 && size != at {
			continue
		}
		if order.Uint32(m[4:]) != boltVersion {
			fault = errNewer
			continue
		}
		sum := fnv.New64a()
		sum.Write(m[:56])
		if sum.Sum64() != order.Uint64(m[56:]) {
			continue
		}
		if tx := order.Uint64(m[48:]); best == nil || tx > bestTx {
			best, bestTx = &bolt{data: data, pageSize: size, root: order.Uint64(m[16:]), freelist: order.Uint64(m[32:]), pages: order.Uint64(m[40:])}, tx
		}
	}
	switch {
	case best == nil:
		return nil, fault
	case best.pageSize < 1024 || best.pages < 3 || best.pages > uint64(len(data))/best.pageSize:
		return nil, fmt.Errorf("it should have %d pages of %d bytes and has %d bytes", best.pages, best.pageSize, len(data))
	}
	return best, nil
}

// page takes a page for one use and returns all of it, with the pages that continue it.
func (f *bolt) page(id uint64) ([]byte, error) {
	if id < 2 || id >= f.pages {
		return nil, fmt.Errorf("there is no page %d", id)
	}
	head := f.data[id*f.pageSize:]
	if got := order.Uint64(head); got != id {
		return nil, fmt.Errorf("page %d says that it is page %d", id, got)
	}
	more := uint64(order.Uint32(head[12:]))
	if more >= f.pages-id {
		return nil, fmt.Errorf("page %d has no end", id)
	}
	for i := id; i <= id+more; i++ {
		if err := f.take(i); err != nil {
			return nil, err
		}
	}
	return head[:(more+1)*f.pageSize], nil
}

func (f *bolt) take(id uint64) error {
	if f.used[id] {
		return fmt.Errorf("page %d is used twice", id)
	}
	f.used[id] = true
	return nil
}

// tree looks at a page of a bucket and at all below it. Its keys lie from least up to, not including, end; nil is open.
func (f *bolt) tree(id uint64, least, end []byte, root bool) error {
	page, err := f.page(id)
	if err != nil {
		return err
	}
	switch flags := order.Uint16(page[8:]); {
	case flags == branchFlag:
		return f.branch(page, least, end)
	case flags == leafFlag && (root || order.Uint16(page[10:]) > 0):
		return f.leaf(page, least, end)
	}
	return fmt.Errorf("page %d is no part of a tree", id)
}

func (f *bolt) branch(page, least, end []byte) error {
	keys, _, err := entries(page, func(e []byte) (pos, key, value uint64) {
		return uint64(order.Uint32(e)), uint64(order.Uint32(e[4:])), 0
	})
	if err != nil {
		return err
	}
	if len(keys) == 0 {
		return fmt.Errorf("page %d is an empty branch", order.Uint64(page))
	}
	for i := range keys {
		from, to := keys[i], end
		if i == 0 {
			from = least // the first key of a branch may be older than what is below it
		}
		if i+1 < len(keys) {
			to = keys[i+1]
		}
		if err := f.tree(order.Uint64(page[headSize+i*elementSize+8:]), from, to, false); err != nil {
			return err
		}
	}
	return inOrder(keys, nil, end)
}

func (f *bolt) leaf(page, least, end []byte) error {
	keys, values, err := entries(page, func(e []byte) (pos, key, value uint64) {
		return uint64(order.Uint32(e[4:])), uint64(order.Uint32(e[8:])), uint64(order.Uint32(e[12:]))
	})
	if err != nil {
		return err
	}
	for i := range keys {
		switch flags := order.Uint32(page[headSize+i*elementSize:]); flags {
		case 0:
		case bucketFlag:
			if err := f.bucket(values[i]); err != nil {
				return fmt.Errorf("bucket %q: %w", keys[i], err)
			}
		default:
			return fmt.Errorf("entry %q is of kind %d", keys[i], flags)
		}
	}
	return inOrder(keys, least, end)
}

// bucket looks at a bucket, which may lie within the value itself.
func (f *bolt) bucket(value []byte) error {
	if len(value) < bucketSize {
		return errors.New("it has no beginning")
	}
	if root := order.Uint64(value); root != 0 {
		return f.tree(root, nil, nil, true)
	}
	page := value[bucketSize:]
	if len(page) < headSize || order.Uint16(page[8:]) != leafFlag {
		return errors.New("it has no content")
	}
	return f.leaf(page, nil, nil)
}

// entries returns keys and values of a page. They lie one after the other behind the table of entries, without a gap:
// so a wrong count, place or length is seen.
func entries(page []byte, read func([]byte) (pos, key, value uint64)) (keys, values [][]byte, err error) {
	count := uint64(order.Uint16(page[10:]))
	next := headSize + count*elementSize
	for i := range count {
		at := headSize + i*elementSize
		if next > uint64(len(page)) {
			return nil, nil, errors.New("a page has more entries than room")
		}
		pos, key, value := read(page[at:][:elementSize])
		if at+pos != next || key == 0 || next+key+value > uint64(len(page)) {
			return nil, nil, fmt.Errorf("entry %d of page %d is out of place", i, order.Uint64(page))
		}
		keys = append(keys, page[next:][:key])
		values = append(values, page[next+key:][:value])
		next += key + value
	}
	return keys, values, nil
}

// inOrder holds that keys grow and stay within their page's part of the tree.
func inOrder(keys [][]byte, least, end []byte) error {
	for i, key := range keys {
		if i > 0 {
			least = keys[i-1]
		}
		if c := bytes.Compare(key, least); least != nil && (c < 0 || i > 0 && c == 0) || end != nil && bytes.Compare(key, end) >= 0 {
			return fmt.Errorf("entry %q is out of order", key)
		}
	}
	return nil
}

// free looks at the list of free pages.
func (f *bolt) free() error {
	if f.freelist == noFreelist {
		return errors.New("its list of free pages was not written")
	}
	page, err := f.page(f.freelist)
	if err != nil {
		return err
	}
	if order.Uint16(page[8:]) != freelistFlag {
		return fmt.Errorf("page %d is no list of free pages", f.freelist)
	}
	ids, count := page[headSize:], uint64(order.Uint16(page[10:]))
	if count == 0xFFFF { // the true number stands in front
		count, ids = order.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids))/8 {
		return errors.New("its list of free pages has no end")
	}
	for i := range count {
		id := order.Uint64(ids[i*8:])
		if id < 2 || id >= f.pages {
			return fmt.Errorf("page %d, which is not there, should be free", id)
		}
		if err := f.take(id); err != nil {
			return err
		}
	}
	return nil
}

// readSound reads a file and returns a *damageError if it makes no sense. An empty one has not been begun.
func readSound(file *os.File) error {
	info, err := file.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	data := make([]byte, info.Size())
	if _, err := file.ReadAt(data, 0); err != nil {
		return err
	}
	switch err := checkFile(data); {
	case errors.Is(err, errNewer):
		return &NewerError{Path: file.Name(), Found: "another version of bbolt"}
	case err != nil:
		return &damageError{err}
	}
	return nil
}
