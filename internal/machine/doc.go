// Package machine owns the description of this machine: processors, memory, disks, network devices, topology and
// identifiers, as cAdvisor reads them from /proc and /sys and as /spec/ shows them.
package machine
