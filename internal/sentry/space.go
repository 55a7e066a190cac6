package sentry

import (
	"fmt"
	"strings"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/platform"
)

// NewAddressSpace gives a process an address space that has no more mappings than
// the host's kernel grants one of its own (vm.max_map_count), without an end of
// the sandbox.
func (m *meter) NewAddressSpace() (platform.AddressSpace, error) {
	s, err := m.Platform.NewAddressSpace()
	if err != nil {
		return nil, err
	}
	low := m.MinUserAddress()
	return &space{s, low, uint64(m.MaxUserAddress() - low)}, nil
}

// space is an address space of the platform's. What is mapped in it is what was
// used lately: what is used again is mapped again.
type space struct {
	platform.AddressSpace
	low  hostarch.Addr
	size uint64
}

// Unmap takes all out where the host has no mapping left for what would remain on
// both sides of a hole. gVisor panics there: it must not go on as if it were out.
func (s *space) Unmap(at hostarch.Addr, length uint64) {
	defer func() {
		switch failed := recover(); {
		case failed == nil:
		case strings.HasPrefix(fmt.Sprint(failed), "munmap("):
			s.AddressSpace.Unmap(s.low, s.size)
		default:
			panic(failed)
		}
	}()
	s.AddressSpace.Unmap(at, length)
}

// inSpace is a thread's context. The platform's own one wants its own address
// spaces.
type inSpace struct {
	platform.Context
	mm bare
}

// bare is a process's memory with the platform's own address space.
type bare struct{ platform.MemoryManager }

func (b *bare) AddressSpace() platform.AddressSpace { return own(b.MemoryManager.AddressSpace()) }

func own(s platform.AddressSpace) platform.AddressSpace {
	if s, ok := s.(*space); ok {
		return s.AddressSpace
	}
	return s
}

// Switch is called by the thread alone.
func (c *inSpace) Switch(ctx context.Context, mm platform.MemoryManager, ac *arch.Context64, cpu int32) (*linux.SignalInfo, hostarch.AccessType, error) {
	c.mm.MemoryManager = mm
	return c.Context.Switch(ctx, &c.mm, ac, cpu)
}

func (c *inSpace) PullFullState(s platform.AddressSpace, ac *arch.Context64) error {
	return c.Context.PullFullState(own(s), ac)
}
