package cluster

import (
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

func (c *Client) member(r *clientv3.StatusResponse) *status.Member {
	m := &status.Member{
		Name:      c.o.Name,
		ID:        hex(r.Header.MemberId),
		ClusterID: hex(r.Header.ClusterId),
		Role:      role(r),
		Term:      r.RaftTerm,
		Index:     r.RaftIndex,
		Applied:   r.RaftAppliedIndex,
		Revision:  r.Header.Revision,
		DBSize:    r.DbSize,
		DBInUse:   r.DbSizeInUse,
		Quota:     c.quota(r),
		Errors:    r.Errors,
		Asked:     time.Now(),
	}
	if r.Leader != 0 {
		m.LeaderID = hex(r.Leader)
	}
	return m
}

// hex is as etcdctl prints IDs.
func hex(id uint64) string { return fmt.Sprintf("%x", id) }

func role(r *clientv3.StatusResponse) status.Role {
	switch {
	case r.IsLearner:
		return status.RoleLearner
	case r.Leader == 0:
		return status.RoleNone
	case r.Leader == r.Header.MemberId:
		return status.RoleLeader
	}
	return status.RoleFollower
}

// quota is what etcd says from 3.6 on. Before, the flag is what counts, and none means the default; a negative one
// switches the quota off.
func (c *Client) quota(r *clientv3.StatusResponse) int64 {
	switch {
	case r.DbSizeQuota != 0:
		return max(0, r.DbSizeQuota)
	case c.o.Quota < 0:
		return 0
	case c.o.Quota > 0:
		return c.o.Quota
	}
	return DefaultQuota
}
