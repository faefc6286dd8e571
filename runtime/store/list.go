package store

// ListPages is List for a driver that reads page by page: page gives some of the
// entries whose Seq is over after, in order, none at the end.
func ListPages(after uint64, page func(after uint64) ([]Info, error), f func(Info) bool) error {
	for {
		infos, err := page(after)
		if err != nil {
			return err
		}
		if len(infos) == 0 {
			return nil
		}
		for _, info := range infos {
			if !f(info) {
				return nil
			}
		}
		after = infos[len(infos)-1].Seq
	}
}
