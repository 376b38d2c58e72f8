package exposition

import (
	"github.com/bosun-project/bosun/internal/usage"
)

func (w *writer) filesystems(all []subject) {
	each := func(name, help string, pick func(f *usage.Filesystem) usage.Number) {
		w.begin(name, help, gauge)
		for i := range all {
			for j := range all[i].filesystems {
				if f := &all[i].filesystems[j]; pick(f).Known {
					w.number(with(all[i].base, "device", f.Device), pick(f), asIs, f.At)
				}
			}
		}
		w.end()
	}
	each("container_fs_inodes_free", "Free inodes of the file system.", func(f *usage.Filesystem) usage.Number { return f.InodesFree })
	each("container_fs_inodes_total", "Inodes of the file system.", func(f *usage.Filesystem) usage.Number { return f.Inodes })
	each("container_fs_limit_bytes", "The size of the file system.", func(f *usage.Filesystem) usage.Number { return f.Capacity })
	each("container_fs_usage_bytes", "What is taken of the file system.", func(f *usage.Filesystem) usage.Number { return f.Used })
}

// traffic is a family with one number for each disk.
type traffic struct {
	name, help string
	counter    bool
	unit       float64
	pick       func(d *usage.Disk) usage.Number
}

var traffics = []traffic{
	{"container_fs_reads_bytes_total", "Bytes read.", counter, asIs, func(d *usage.Disk) usage.Number { return d.ReadBytes }},
	{"container_fs_reads_total", "Reads.", counter, asIs, func(d *usage.Disk) usage.Number { return d.Reads }},
	{"container_fs_sector_reads_total", "Sectors read.", counter, asIs, func(d *usage.Disk) usage.Number { return d.ReadSectors }},
	{"container_fs_reads_merged_total", "Reads that were merged with others.", counter, asIs, func(d *usage.Disk) usage.Number { return d.ReadsMerged }},
	{"container_fs_read_seconds_total", "Time that reads took, in seconds.", counter, milli, func(d *usage.Disk) usage.Number { return d.ReadTime }},
	{"container_fs_writes_bytes_total", "Bytes written.", counter, asIs, func(d *usage.Disk) usage.Number { return d.WriteBytes }},
	{"container_fs_writes_total", "Writes.", counter, asIs, func(d *usage.Disk) usage.Number { return d.Writes }},
	{"container_fs_sector_writes_total", "Sectors written.", counter, asIs, func(d *usage.Disk) usage.Number { return d.WriteSectors }},
	{"container_fs_writes_merged_total", "Writes that were merged with others.", counter, asIs, func(d *usage.Disk) usage.Number { return d.WritesMerged }},
	{"container_fs_write_seconds_total", "Time that writes took, in seconds.", counter, milli, func(d *usage.Disk) usage.Number { return d.WriteTime }},
	{"container_fs_io_current", "Reads and writes that are under way.", gauge, asIs, func(d *usage.Disk) usage.Number { return d.InFlight }},
	{"container_fs_io_time_seconds_total", "Time in which the disk was busy, in seconds.", counter, milli, func(d *usage.Disk) usage.Number { return d.IOTime }},
	{"container_fs_io_time_weighted_seconds_total", "Time that reads and writes waited, in seconds.", counter, milli, func(d *usage.Disk) usage.Number { return d.Weighted }},
}

func (w *writer) disks(all []subject) {
	for _, f := range traffics {
		w.begin(f.name, f.help, f.counter)
		for i := range all {
			for j := range all[i].disks {
				if d := &all[i].disks[j]; f.pick(d).Known {
					w.number(with(all[i].base, "device", d.Device), f.pick(d), f.unit, all[i].cgroup.At)
				}
			}
		}
		w.end()
	}
	w.begin("container_blkio_device_usage_total", "Bytes that went to and from disks.", counter)
	for i := range all {
		for j := range all[i].disks {
			d := &all[i].disks[j]
			for _, way := range []struct {
				name string
				n    usage.Number
			}{{"Read", d.ReadBytes}, {"Write", d.WriteBytes}} {
				if way.n.Known {
					w.number(with(all[i].base, "device", d.Device, "major", number(d.Major), "minor", number(d.Minor), "operation", way.name), way.n, asIs, all[i].cgroup.At)
				}
			}
		}
	}
	w.end()
}

func (w *writer) networks(all []subject) {
	each := func(name, help string, pick func(f *usage.Link) uint64) {
		w.begin("container_network_"+name+"_total", help, counter)
		for i := range all {
			if all[i].network == nil {
				continue
			}
			for j := range all[i].network.Links {
				f := &all[i].network.Links[j]
				w.add(with(all[i].base, "interface", f.Name), float64(pick(f)), all[i].network.At)
			}
		}
		w.end()
	}
	each("receive_bytes", "Bytes received.", func(f *usage.Link) uint64 { return f.RxBytes })
	each("receive_packets", "Packets received.", func(f *usage.Link) uint64 { return f.RxPackets })
	each("receive_packets_dropped", "Received packets that were dropped.", func(f *usage.Link) uint64 { return f.RxDrops })
	each("receive_errors", "Errors of receiving.", func(f *usage.Link) uint64 { return f.RxErrors })
	each("transmit_bytes", "Bytes sent.", func(f *usage.Link) uint64 { return f.TxBytes })
	each("transmit_packets", "Packets sent.", func(f *usage.Link) uint64 { return f.TxPackets })
	each("transmit_packets_dropped", "Packets dropped instead of being sent.", func(f *usage.Link) uint64 { return f.TxDrops })
	each("transmit_errors", "Errors of sending.", func(f *usage.Link) uint64 { return f.TxErrors })
}
