package service

import (
	"postern/authz/posture"
	"postern/authz/posture/agent"
	"postern/authz/session"
	"postern/internal/seal"
	"postern/internal/store"
)

// NewPosture makes the keeper of what is known of devices. Whose devices it is told of,
// has his sessions looked at again.
func NewPosture(st store.Store, sessions *session.Registry) *posture.Keeper {
	return posture.New(st, posture.Config{Review: sessions.AskReview})
}

// NewAgents makes the desk at which devices enrol and report.
func NewAgents(st store.Store, ring *seal.Ring, keeper *posture.Keeper) *agent.Desk {
	return agent.New(st, ring, keeper)
}
