package journal

import (
	"cmp"
	"context"
	"crypto/sha256"
	"slices"
	"sync"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"pannier/journal/wire"
)

const (
	maxAccounts = 1000
	// maxAccountKeys bounds the keys of one account, revoked ones included: the
	// oldest of those go first.
	maxAccountKeys = 16
)

// accounts are the service accounts, all of them in memory: every request with
// such a key looks one up.
type accounts struct {
	mu struct {
		sync.RWMutex
		byID map[ID]*wire.Account // never changed once it is in here
	}
}

func newAccounts() *accounts {
	a := &accounts{}
	a.mu.byID = map[ID]*wire.Account{}
	return a
}

func (a *accounts) load(txn *page) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return eachRecord(txn, []byte{classAccount}, func() *wire.Account { return &wire.Account{} }, func(key []byte, acc *wire.Account) {
		a.mu.byID[ID(key[1:])] = acc
	})
}

// Accounts lists the service accounts in the order they were made. They are
// not to be changed.
func (j *Journal) Accounts() []*wire.Account {
	j.accounts.mu.RLock()
	defer j.accounts.mu.RUnlock()
	out := make([]*wire.Account, 0, len(j.accounts.mu.byID))
	for _, acc := range j.accounts.mu.byID {
		out = append(out, acc)
	}
	slices.SortFunc(out, func(x, y *wire.Account) int {
		return cmp.Or(cmp.Compare(x.CreatedMs, y.CreatedMs), cmp.Compare(x.Agent, y.Agent))
	})
	return out
}

// Account returns a service account, or ErrNotFound.
func (j *Journal) Account(id ID) (*wire.Account, error) {
	j.accounts.mu.RLock()
	defer j.accounts.mu.RUnlock()
	if acc := j.accounts.mu.byID[id]; acc != nil {
		return acc, nil
	}
	return nil, ErrNotFound
}

// AccountID is the id of an agent's service account: an agent has one.
func AccountID(agent string) ID { return ID(uuid.NewSHA1(uuid.NameSpaceURL, []byte(agent))) }

// AddAccount makes the service account of acc.Agent, or returns the one that is
// there, as it is.
func (j *Journal) AddAccount(ctx context.Context, acc *wire.Account) (*wire.Account, error) {
	id := AccountID(acc.Agent)
	var made *wire.Account
	err := j.do(ctx, first, &op{run: func(t *tx) (err error) {
		if made, err = t.account(id); err != nil || made != nil {
			return err
		}
		if j.accounts.len() >= maxAccounts { // one batch may go over it
			return ErrTooManyAccounts
		}
		made = proto.Clone(acc).(*wire.Account)
		made.Id, made.CreatedMs, made.UpdatedMs = id[:], ms(t.now), ms(t.now)
		return t.saveAccount(made)
	}})
	return made, err
}

func (a *accounts) len() int {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return len(a.mu.byID)
}

// account reads one; nil where there is none.
func (t *tx) account(id ID) (*wire.Account, error) {
	acc := &wire.Account{}
	found, err := t.get(idKey(classAccount, id), acc)
	if !found || err != nil {
		return nil, err
	}
	return acc, nil
}

func (t *tx) saveAccount(acc *wire.Account) error {
	id := ID(acc.Id)
	t.after(func() {
		t.j.accounts.mu.Lock()
		defer t.j.accounts.mu.Unlock()
		t.j.accounts.mu.byID[id] = acc
	})
	return t.put(idKey(classAccount, id), acc)
}

// DropAccount removes a service account and its keys, and returns what it was.
func (j *Journal) DropAccount(ctx context.Context, id ID) (*wire.Account, error) {
	var was *wire.Account
	err := j.do(ctx, first, &op{run: func(t *tx) (err error) {
		if was, err = t.account(id); err != nil || was == nil {
			return cmp.Or(err, ErrNotFound)
		}
		t.after(func() {
			j.accounts.mu.Lock()
			defer j.accounts.mu.Unlock()
			delete(j.accounts.mu.byID, id)
		})
		t.del(idKey(classAccount, id))
		return nil
	}})
	return was, err
}

// AddAccountKey adds a key to an account. Of a key that is there, under the
// same id and in force, only the token changes: its maker has not seen the one
// before, and it is no longer valid.
func (j *Journal) AddAccountKey(ctx context.Context, id ID, key *wire.AccountKey) (*wire.AccountKey, error) {
	var made *wire.AccountKey
	err := j.changeAccount(ctx, id, func(t *tx, acc *wire.Account) error {
		made = proto.Clone(key).(*wire.AccountKey)
		made.CreatedMs = ms(t.now)
		if i := keyIndex(acc, ID(key.Id)); i >= 0 && acc.Keys[i].RevokedMs == 0 {
			made.CreatedMs = acc.Keys[i].CreatedMs
			acc.Keys[i] = made
			return nil
		}
		if len(acc.Keys) >= maxAccountKeys {
			i := slices.IndexFunc(acc.Keys, func(k *wire.AccountKey) bool { return k.RevokedMs > 0 })
			if i < 0 {
				return ErrTooManyAccounts
			}
			acc.Keys = slices.Delete(acc.Keys, i, i+1)
		}
		acc.Keys = append(acc.Keys, made)
		return nil
	})
	return made, err
}

// RevokeAccountKey ends a key at once and for good; ErrNotFound where there is
// none. Of one that is revoked it tells when it was.
func (j *Journal) RevokeAccountKey(ctx context.Context, id, key ID) (*wire.AccountKey, error) {
	var revoked *wire.AccountKey
	err := j.changeAccount(ctx, id, func(t *tx, acc *wire.Account) error {
		i := keyIndex(acc, key)
		if i < 0 {
			return ErrNotFound
		}
		revoked = acc.Keys[i]
		if revoked.RevokedMs == 0 {
			revoked.RevokedMs = ms(t.now)
		}
		return nil
	})
	return revoked, err
}

func keyIndex(acc *wire.Account, key ID) int {
	return slices.IndexFunc(acc.Keys, func(k *wire.AccountKey) bool { return ID(k.Id) == key })
}

func (j *Journal) changeAccount(ctx context.Context, id ID, change func(*tx, *wire.Account) error) error {
	return j.do(ctx, first, &op{run: func(t *tx) error {
		acc, err := t.account(id)
		if err != nil || acc == nil {
			return cmp.Or(err, ErrNotFound)
		}
		if err := change(t, acc); err != nil {
			return err
		}
		acc.UpdatedMs = ms(t.now)
		return t.saveAccount(acc)
	}})
}

// TokenHash is what a token is stored as.
func TokenHash(token string) [sha256.Size]byte { return sha256.Sum256([]byte(token)) }
