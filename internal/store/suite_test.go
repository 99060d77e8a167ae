package store_test

import (
	"testing"

	"postern/internal/store/storetest"
)

func TestSuite(t *testing.T) { storetest.Suite(t) }
