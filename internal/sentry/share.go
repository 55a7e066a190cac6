package sentry

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/fd"
	"gvisor.dev/gvisor/pkg/fspath"
	"gvisor.dev/gvisor/pkg/sentry/checkpoint"
	"gvisor.dev/gvisor/pkg/sentry/fsimpl/gofer"
	"gvisor.dev/gvisor/pkg/sentry/fsimpl/tmpfs"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/kernel/auth"
	"gvisor.dev/gvisor/pkg/sentry/seccheck"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
	"gvisor.dev/gvisor/pkg/sync"
	"gvisor.dev/gvisor/runsc/boot"
)

// ShareSink names what makes a volume one file system for all containers: a
// sink, in gVisor's words, of a trace session that traces nothing. The string
// "key" of its configuration names the volume. The socket that came along is a
// gofer's; a sandbox that was restored has the volume already, and the socket
// is not used.
//
// gVisor has such mounts for tmpfs alone: mounted once for the sandbox, known to
// its loader by their sources, and mounted again from there by every container
// whose mount has that source. Here the loader is told of a gofer's mount in
// the same way. The infra container has it, too, so that it is saved with a
// checkpoint and found again after a restore.
const ShareSink = "sandboxer-share"

// InfraName is by what a checkpoint knows the infra container, whatever the
// sandbox is called. No other container can have it: it is no DNS label.
const InfraName = "(infra)"

// ShareSource is the source of a container's mount of the volume key, and
// ShareType its type, which gVisor does not look at.
func ShareSource(key string) string { return "sandboxer:" + key }

// ShareType is of no file system: a volume that is not known is not mounted.
const ShareType = "sandboxer"

// ShareMount is the infra container's mount of the volume, as its specification
// has it.
func ShareMount(key string) specs.Mount {
	return specs.Mount{Type: boot.Bind, Source: "/", Destination: sharePath(key), Options: []string{"rbind"}}
}

// sharePath is in the file system in memory that gVisor gives the infra
// container.
func sharePath(key string) string { return path.Join("/tmp", key) }

// share is the sink's constructor.
func (m *meter) share(config map[string]any, socket *fd.FD) (seccheck.Sink, error) {
	if socket == nil {
		return nil, errors.New("no socket of a gofer's")
	}
	defer socket.Close()
	key, _ := config["key"].(string)
	if key == "" || path.Base(key) != key {
		return nil, fmt.Errorf("%q names no volume", key)
	}
	return sink{}, m.sharing(key, func(ctx context.Context, k *kernel.Kernel, l *boot.Loader, creds *auth.Credentials) (*vfs.Mount, error) {
		mount, err := mountGofer(ctx, k, creds, key, socket)
		// A restored sandbox is to have the mounts that the saved one had.
		spec := specOf(l, infraID(k))
		if err == nil && spec != nil && !slices.ContainsFunc(spec.Mounts, func(m specs.Mount) bool { return m.Destination == sharePath(key) }) {
			spec.Mounts = append(spec.Mounts, ShareMount(key))
		}
		return mount, err
	})
}

// ShmSink names what makes the sandbox's own /dev/shm, which containers mount
// by ShmKey: a file system in memory, which a checkpoint holds.
const ShmSink = "sandboxer-shm"

// ShmKey is by what /dev/shm is known. No volume can have it: theirs have a
// number behind the name.
const ShmKey = "shm"

// ShmBytes is as much as a Pod's can hold where runtimes are not told
// otherwise.
const ShmBytes = 64 << 20

// shm is the sink's constructor. Once /dev/shm is there, nothing is done.
func (m *meter) shm(map[string]any, *fd.FD) (seccheck.Sink, error) {
	return sink{}, m.sharing(ShmKey, func(ctx context.Context, k *kernel.Kernel, _ *boot.Loader, creds *auth.Credentials) (*vfs.Mount, error) {
		return k.VFS().MountDisconnected(ctx, creds, "", tmpfs.Name, &vfs.MountOptions{
			GetFilesystemOptions: vfs.GetFilesystemOptions{InternalMount: true, Data: fmt.Sprintf("mode=1777,size=%d", ShmBytes)},
		})
	})
}

// mounting mounts a file system that is not there yet; the loader is locked.
type mounting func(context.Context, *kernel.Kernel, *boot.Loader, *auth.Credentials) (*vfs.Mount, error)

// sharing has the loader know what containers mount by key. It is mounted unless
// it is there already.
func (m *meter) sharing(key string, mount mounting) error {
	k := m.kernel.Load()
	if k == nil {
		return errors.New("no task was ever made")
	}
	l, ok := k.Saver().(*boot.Loader)
	if !ok {
		return errors.New("the sandbox has no loader")
	}
	mu := member[sync.Mutex](l, "mu")
	mu.Lock()
	defer mu.Unlock()
	shared := *member[map[string]*vfs.Mount](l, "sharedMounts")
	if shared[ShareSource(key)] != nil {
		return nil
	}
	mounted, err := mountShared(k, l, key, mount)
	if err != nil {
		return fmt.Errorf("mounting %s: %w", key, err)
	}
	shared[ShareSource(key)] = mounted
	hints := *member[*boot.PodMountHints](l, "mountHints")
	hints.Mounts[key] = shareHint(key)
	return nil
}

// shareHint has gVisor take a mount for one that is there already.
func shareHint(key string) *boot.MountHint {
	hint, err := boot.NewPodMountHints(&specs.Spec{Annotations: map[string]string{
		boot.MountPrefix + key + ".source": ShareSource(key), boot.MountPrefix + key + ".type": tmpfs.Name, boot.MountPrefix + key + ".share": "pod",
	}})
	if err != nil {
		panic("sentry: a hint is not understood: " + err.Error()) // unreachable: the key has no dot
	}
	return hint.Mounts[key]
}

func infraID(k *kernel.Kernel) string { return k.GlobalInit().Leader().ContainerID() }

// mountShared is the infra container's mount of what is shared, which is made
// where it is not there.
func mountShared(k *kernel.Kernel, l *boot.Loader, key string, make mounting) (*vfs.Mount, error) {
	ctx := k.SupervisorContext()
	creds := auth.NewRootCredentials(k.RootUserNamespace())
	infra := k.GlobalInit().Leader()
	root := infra.FSContext().RootDirectory()
	defer root.DecRef(ctx)
	ctx = vfs.WithRoot(vfs.WithMountNamespace(ctx, infra.MountNamespace()), root)
	at := &vfs.PathOperation{Root: root, Start: root, Path: fspath.Parse(sharePath(key))}
	if mount, err := mountAt(ctx, k.VFS(), creds, at); err == nil {
		return mount, nil
	}
	mount, err := make(ctx, k, l, creds)
	if err != nil {
		return nil, err
	}
	defer mount.DecRef(ctx)
	top := vfs.MakeVirtualDentry(mount, mount.Root())
	stat, err := k.VFS().StatAt(ctx, creds, &vfs.PathOperation{Root: top, Start: top}, &vfs.StatOptions{Mask: linux.STATX_TYPE})
	if err != nil {
		return nil, err
	}
	if linux.FileMode(stat.Mode).IsDir() {
		err = k.VFS().MkdirAt(ctx, creds, at, &vfs.MkdirOptions{Mode: 0o755})
	} else {
		err = k.VFS().MknodAt(ctx, creds, at, &vfs.MknodOptions{Mode: linux.S_IFREG | 0o644})
	}
	if err != nil && !linuxerr.Equals(linuxerr.EEXIST, err) { // from an attempt that failed
		return nil, err
	}
	if err := k.VFS().ConnectMountAt(ctx, creds, mount, at); err != nil {
		return nil, err
	}
	mount.IncRef()
	return mount, nil
}

// mountGofer mounts what is behind a gofer's socket, as gVisor mounts volumes:
// the host may change it.
func mountGofer(ctx context.Context, k *kernel.Kernel, creds *auth.Credentials, key string, socket *fd.FD) (*vfs.Mount, error) {
	n := strconv.Itoa(socket.Release()) // the file system's from here on
	return k.VFS().MountDisconnected(ctx, creds, "", gofer.Name, &vfs.MountOptions{
		GetFilesystemOptions: vfs.GetFilesystemOptions{
			InternalMount: true,
			Data:          strings.Join([]string{"trans=fd", "rfdno=" + n, "wfdno=" + n, "cache=remote_revalidating", "directfs", "disable_fifo_open", "dcache=0"}, ","),
			InternalData: gofer.InternalFilesystemOptions{
				UniqueID: checkpoint.ResourceID{ContainerName: InfraName, Path: sharePath(key)},
			},
		},
	})
}

// mountAt is the mount whose root is at a path.
func mountAt(ctx context.Context, v *vfs.VirtualFilesystem, creds *auth.Credentials, at *vfs.PathOperation) (*vfs.Mount, error) {
	found, err := v.GetDentryAt(ctx, creds, at, &vfs.GetDentryOptions{})
	if err != nil {
		return nil, err
	}
	defer found.DecRef(ctx)
	if found.Dentry() != found.Mount().Root() {
		return nil, linuxerr.ENOENT
	}
	found.Mount().IncRef()
	return found.Mount(), nil
}
